//! A DNS server that knows one thing: which servers an SRV name leads to.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use tokio::{net::UdpSocket, task::JoinHandle};

/// How it answers.
#[derive(Debug, Clone)]
pub enum Says {
    /// Host, port and weight of each server; all have one priority.
    Targets(Vec<(&'static str, u16, u16)>),
    /// With a priority in front.
    Ranked(Vec<(u16, &'static str, u16, u16)>),
    /// That it failed (SERVFAIL), that there is no such name (NXDOMAIN): a response code.
    Code(u8),
    Nothing,
}

/// Listens on a port of its own. Dropping it closes it.
pub struct Dns {
    pub address: SocketAddr,
    says: Arc<Mutex<Says>>,
    asked: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Dns {
    pub async fn start(says: Says) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (says, asked) = (Arc::new(Mutex::new(says)), Arc::<AtomicU32>::default());
        let (saying, counting) = (says.clone(), asked.clone());
        let task = tokio::spawn(async move {
            let mut query = [0; 512];
            loop {
                let (length, client) = socket.recv_from(&mut query).await.unwrap();
                counting.fetch_add(1, Relaxed);
                let reply = reply(&query[..length], &saying.lock().unwrap());
                if let Some(reply) = reply {
                    socket.send_to(&reply, client).await.unwrap();
                }
            }
        });
        Self { address, says, asked, task }
    }

    pub fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    /// How often it was asked.
    pub fn asked(&self) -> u32 {
        self.asked.load(Relaxed)
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The reply to a query with one question (RFC 1035, section 4), with a time to live of one second.
fn reply(query: &[u8], says: &Says) -> Option<Vec<u8>> {
    let (code, targets) = match says {
        Says::Targets(targets) => (0, targets.iter().map(|&(host, port, weight)| (0, host, port, weight)).collect()),
        Says::Ranked(targets) => (0, targets.clone()),
        Says::Code(code) => (*code, Vec::new()),
        Says::Nothing => return None,
    };
    let name = query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let mut reply = query[..2].to_vec();
    reply.extend([0x81, 0x80 | code, 0, 1, 0, targets.len() as u8, 0, 0, 0, 0]);
    reply.extend(&query[12..12 + name + 4]);
    for (priority, host, port, weight) in targets {
        let mut data = [priority, weight, port].map(u16::to_be_bytes).concat();
        for label in host.split('.') {
            data.push(label.len() as u8);
            data.extend(label.as_bytes());
        }
        data.push(0);
        reply.extend(b"\xC0\x0C\0\x21\0\x01\0\0\0\x01");
        reply.extend((data.len() as u16).to_be_bytes());
        reply.extend(data);
    }
    Some(reply)
}
