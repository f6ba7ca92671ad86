//! Any frame as a Kafka request: what header and guard let through, the decoder must not panic at, nor
//! reserve memory for that the bytes do not hold.

#![no_main]

use bytes::Bytes;
use doorkeeper::kafka::api::registration;
use doorkeeper::kafka::wire::{guard, header, schema};
use kafka_protocol::messages::RequestKind;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut frame = Bytes::copy_from_slice(data);
    let Ok(start) = header::start(&mut frame) else { return };
    let Some(api) = registration(start.key).filter(|api| api.serves(start.version)) else { return };
    if header::client_id(&mut frame, api.key, start.version).is_err() {
        return;
    }
    let schema = schema::of(api.key).expect("each API that is served has one");
    if guard::check(schema, start.version, &frame).is_ok() {
        let _ = RequestKind::decode(api.key, &mut frame, start.version);
    }
});
