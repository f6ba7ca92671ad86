//! `DescribeTopicPartitions` from one image (pure).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::DescribeTopicPartitionsRequest;

use super::access::Access;
use super::{Answer, Question};
use crate::cluster::topic_name;
use crate::kafka::api::{HandlerError, Reply, describe_topic_partitions};

pub(super) fn answer(question: &Question<'_>, access: &Access<'_>) -> Result<Answer, HandlerError> {
    let Question { image, addresses, version, .. } = question;
    let request: DescribeTopicPartitionsRequest = question.decode()?;
    let names = request.topics.iter().map(|topic| topic.name.as_str());
    let mut wanted: Vec<String> = names
        .filter(|name| image.topic(name).is_none() && topic_name::check(name).is_ok())
        .filter(|name| question.missing(name).is_none() && access.topic(name).is_some())
        .map(str::to_owned)
        .collect();
    if !wanted.is_empty() {
        wanted.sort_unstable();
        wanted.dedup();
        return Ok(Answer::Missing { names: wanted, create: false });
    }
    let allowed = access.topics_in_order();
    let mut page = describe_topic_partitions::page(image, addresses, &request, allowed);
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    for topic in page.topics.iter_mut().filter(|topic| topic.error_code == unknown) {
        let name = topic.name.as_ref().filter(|name| image.topic(name).is_none());
        if let Some(error) = name.and_then(|name| question.missing(name)) {
            topic.error_code = error;
        }
    }
    Ok(Answer::Reply(Reply::encode(&page, *version)?))
}
