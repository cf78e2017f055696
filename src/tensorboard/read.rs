//! Reads an event file.

use prost::Message;

use super::proto::Event;
use super::record::{RecordError, Records};

/// The events in the bytes of a file, in order. After an error there are no more.
pub fn read_events(file: &[u8]) -> impl Iterator<Item = Result<Event, RecordError>> {
    let mut failed = false;
    let events = Records::new(file).enumerate().map(|(index, record)| {
        let event = Event::decode(record?);
        event.map_err(|_| RecordError::NoEvent(index))
    });
    events.take_while(move |event| !std::mem::replace(&mut failed, event.is_err()))
}
