//! What the client of a question may see (pure).

use super::Question;
use crate::cluster::layout::acl::{CLUSTER_NAME, Operation, ResourceType};
use crate::config::gateway::GatewayAuthorizer;
use crate::kafka::api::operations;
use crate::kafka::security::{Authority, Principal};

/// What one client may see.
#[derive(Debug)]
pub(super) enum Access<'a> {
    /// Everything.
    Whole,
    /// What ACLs allow it.
    Limited(Authority<'a>),
}

impl<'a> Access<'a> {
    /// What the client may see; `None` if only a broker can tell: who it is is not known, or the
    /// authorizer is not, or its ACLs were not read.
    pub(super) fn of(question: &Question<'a>) -> Option<Access<'a>> {
        let caller = question.caller?;
        match question.authorizer {
            GatewayAuthorizer::Nobody => Some(Access::Whole),
            GatewayAuthorizer::Brokers => None,
            GatewayAuthorizer::Acls(rules) => {
                let authority = Authority::new(question.image.acls.as_ref()?, rules, caller);
                let whole = authority.is_super_user();
                Some(if whole { Access::Whole } else { Access::Limited(authority) })
            }
        }
    }

    /// Whether the client may do this with the resource of a name.
    pub(super) fn allows(&self, operation: Operation, kind: ResourceType, name: &str) -> bool {
        match self {
            Access::Whole => true,
            Access::Limited(authority) => authority.allows(operation, kind, name),
        }
    }

    /// Whether the client may make a topic of this name.
    pub(super) fn may_create(&self, topic: &str) -> bool {
        self.allows(Operation::Create, ResourceType::Cluster, CLUSTER_NAME)
            || self.allows(Operation::Create, ResourceType::Topic, topic)
    }

    /// The bits of `topic_authorized_operations`; `None` if the client may not know of the topic.
    pub(super) fn topic(&self, name: &str) -> Option<i32> {
        match self {
            Access::Whole => Some(operations::TOPIC),
            Access::Limited(authority) => {
                let rights = authority.rights(ResourceType::Topic, name);
                rights.allow(Operation::Describe).then(|| rights.of(operations::TOPIC))
            }
        }
    }

    /// The same of topics whose names come in rising order, in next to no time for each.
    pub(super) fn topics_in_order(&self) -> impl FnMut(&str) -> Option<i32> {
        let mut in_order = match self {
            Access::Whole => None,
            Access::Limited(authority) => Some(authority.in_order(ResourceType::Topic)),
        };
        move |name| match &mut in_order {
            None => Some(operations::TOPIC),
            Some(in_order) => {
                let rights = in_order.rights(name);
                rights.allow(Operation::Describe).then(|| rights.of(operations::TOPIC))
            }
        }
    }

    /// The bits of `cluster_authorized_operations`, for a client that asks: none if it may not
    /// describe the cluster.
    pub(super) fn cluster(&self) -> i32 {
        match self {
            Access::Whole => operations::CLUSTER,
            Access::Limited(authority) => {
                let rights = authority.rights(ResourceType::Cluster, CLUSTER_NAME);
                if rights.allow(Operation::Describe) { rights.of(operations::CLUSTER) } else { 0 }
            }
        }
    }
}

/// Whether the gateway may ask brokers on behalf of this client over a connection of its own: as
/// whom nobody logged in.
pub(super) fn is_anonymous(question: &Question<'_>) -> bool {
    question.caller.is_some_and(|caller| caller.principal == Principal::anonymous())
}
