//! The bits of `*_authorized_operations`: which operations a client may do (KIP-430). Where nothing
//! is forbidden to anybody, these are all operations that a resource has.

use crate::cluster::layout::acl::Operation;

/// What an answer has where the client did not ask.
pub const NOT_ASKED: i32 = i32::MIN;

/// The operations on a topic.
pub const TOPIC: i32 = bits(&[
    Operation::Read,
    Operation::Write,
    Operation::Create,
    Operation::Delete,
    Operation::Alter,
    Operation::Describe,
    Operation::DescribeConfigs,
    Operation::AlterConfigs,
]);

/// The operations on a group.
pub const GROUP: i32 = Operation::Read.bit() | Operation::Delete.bit() | Operation::Describe.bit();

/// The operations on the cluster.
pub const CLUSTER: i32 = bits(&[
    Operation::Create,
    Operation::Alter,
    Operation::Describe,
    Operation::ClusterAction,
    Operation::DescribeConfigs,
    Operation::AlterConfigs,
    Operation::IdempotentWrite,
]);

const fn bits(operations: &[Operation]) -> i32 {
    let mut bits = 0;
    let mut index = 0;
    while index < operations.len() {
        bits |= operations[index].bit();
        index += 1;
    }
    bits
}
