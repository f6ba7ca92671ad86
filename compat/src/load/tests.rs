//! The generator against a small server of its own.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::thread;

use super::*;

/// Numbers that count up on each connection; the answer to a number is the number.
struct Counting {
    asked: Vec<u32>,
    answered: Vec<u32>,
    limit: u32,
}

impl Counting {
    fn new(connections: usize, limit: u32) -> Self {
        Self { asked: vec![0; connections], answered: vec![0; connections], limit }
    }
}

impl Conversation for Counting {
    fn open(&mut self, _: usize, out: &mut Vec<u8>) -> Result<()> {
        out.extend([0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff]);
        Ok(())
    }

    fn opened(&mut self, _: usize, answer: &[u8]) -> Result<()> {
        assert_eq!(answer, [0xff; 4]);
        Ok(())
    }

    fn ask(&mut self, connection: usize, out: &mut Vec<u8>) -> bool {
        if self.asked[connection] == self.limit {
            return false;
        }
        self.asked[connection] += 1;
        out.extend([0, 0, 0, 4]);
        out.extend(self.asked[connection].to_be_bytes());
        true
    }

    fn answered(&mut self, connection: usize, answer: &[u8]) -> Result<()> {
        self.answered[connection] += 1;
        anyhow::ensure!(
            answer == self.answered[connection].to_be_bytes(),
            "a wrong answer: {answer:?}"
        );
        Ok(())
    }

    fn close(&mut self, _: usize, _: &mut Vec<u8>) -> bool {
        false
    }
}

/// A server that sends frames back as they came, in pieces that tear them; the number `wrong` it
/// answers with another one, and at `deaf` it hangs up.
fn server(connections: usize, wrong: u32, deaf: u32) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || {
                while let Ok(mut frame) = read_frame(&mut stream) {
                    let number = u32::from_be_bytes(*frame.first_chunk().unwrap());
                    if number == deaf {
                        return;
                    }
                    if number == wrong {
                        frame[3] ^= 1;
                    }
                    stream.write_all(&[0, 0, 0]).unwrap();
                    stream.write_all(&[4, frame[0]]).unwrap();
                    stream.write_all(&frame[1..]).unwrap();
                }
            });
        }
    });
    address
}

fn load(address: SocketAddr, connections: usize, in_flight: usize) -> Load {
    Load { address, pid: std::process::id(), connections, in_flight }
}

/// Of each answer the first three bytes are wanted.
struct Skimming(Counting);

impl Conversation for Skimming {
    fn open(&mut self, connection: usize, out: &mut Vec<u8>) -> Result<()> {
        self.0.open(connection, out)
    }

    fn opened(&mut self, connection: usize, answer: &[u8]) -> Result<()> {
        self.0.opened(connection, answer)
    }

    fn ask(&mut self, connection: usize, out: &mut Vec<u8>) -> bool {
        self.0.ask(connection, out)
    }

    fn wanted(&mut self, length: usize) -> usize {
        assert_eq!(length, 4);
        3
    }

    fn answered(&mut self, connection: usize, answer: &[u8]) -> Result<()> {
        let answered = &mut self.0.answered[connection];
        *answered += 1;
        anyhow::ensure!(answer == &answered.to_be_bytes()[..3], "a wrong answer: {answer:?}");
        Ok(())
    }

    fn close(&mut self, _: usize, _: &mut Vec<u8>) -> bool {
        false
    }
}

const NEVER: u32 = u32::MAX - 1;

#[test]
fn everything_is_asked_once_and_answered() {
    let mut counting = Counting::new(3, 500);
    let measured =
        run(load(server(3, NEVER, NEVER), 3, 7), Extent::Everything, &mut counting).unwrap();
    assert_eq!(counting.answered, [500; 3]);
    assert_eq!((measured.answers, measured.latency.total()), (1500, 1500));
    assert!(measured.latency.quantile(0.5) > Duration::ZERO);
}

#[test]
fn only_the_measured_time_counts() {
    let mut counting = Counting::new(2, u32::MAX);
    let (warm_up, measured) = (Duration::from_millis(60), Duration::from_millis(120));
    let extent = Extent::Time { warm_up, measured };
    let found = run(load(server(2, NEVER, NEVER), 2, 4), extent, &mut counting).unwrap();
    assert!(found.elapsed >= measured && found.elapsed < measured * 3, "{:?}", found.elapsed);
    assert_eq!(found.answers, found.latency.total());
    let all: u32 = counting.answered.iter().sum();
    assert!(found.answers > 0 && found.answers < u64::from(all), "{} of {all}", found.answers);
    assert_eq!(counting.asked, counting.answered, "what is in flight at the end is still read");
}

#[test]
fn a_wrong_answer_fails_the_load() {
    let mut counting = Counting::new(1, u32::MAX);
    let error =
        run(load(server(1, 77, NEVER), 1, 2), Extent::Everything, &mut counting).unwrap_err();
    assert!(format!("{error:#}").contains("a wrong answer"), "{error:#}");
}

#[test]
fn a_server_that_hangs_up_fails_the_load() {
    let mut counting = Counting::new(1, u32::MAX);
    let error =
        run(load(server(1, NEVER, 77), 1, 2), Extent::Everything, &mut counting).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("closed the connection") || text.contains("reset"), "{text}");
}

#[test]
fn what_is_not_wanted_of_an_answer_is_dropped() {
    let mut skimming = Skimming(Counting::new(3, 500));
    let measured =
        run(load(server(3, NEVER, NEVER), 3, 7), Extent::Everything, &mut skimming).unwrap();
    assert_eq!(skimming.0.answered, [500; 3]);
    assert_eq!(measured.answers, 1500);
    // What the server changes is the last byte, which is not looked at.
    let mut skimming = Skimming(Counting::new(1, 500));
    run(load(server(1, 77, NEVER), 1, 2), Extent::Everything, &mut skimming).unwrap();
}

#[test]
fn every_client_of_a_storm_is_answered_once_or_counted_as_failed() {
    let clients = 150;
    let storming = |address| Storm { address, pid: std::process::id(), clients };
    let mut counting = Counting::new(clients, 1);
    let stormed = storm(storming(server(clients, NEVER, NEVER)), &mut counting).unwrap();
    assert_eq!((stormed.measured.answers, stormed.failed), (150, 0));
    assert_eq!(counting.answered, [1; 150]);
    // Every second one is hung up on.
    let mut counting = Counting::new(clients, 1);
    counting.asked.iter_mut().step_by(2).for_each(|asked| *asked = 7);
    counting.limit = 8;
    counting.answered.iter_mut().step_by(2).for_each(|answered| *answered = 7);
    let stormed = storm(storming(server(clients, NEVER, 8)), &mut counting).unwrap();
    assert_eq!((stormed.measured.answers, stormed.failed), (75, 75));
}
