//! A client with prepared statements and cursors.

use weir::protocol::Capabilities;

use super::bed::raw::{Answer, Card, MODERN, Raw};

/// Its statements are numbered as they are prepared.
pub struct Client {
    pub raw: Raw,
}

impl Client {
    pub async fn connect(port: u16, capabilities: Capabilities) -> Self {
        Self { raw: Raw::connect(port, &Card::app(capabilities)).await.unwrap() }
    }

    pub async fn modern(port: u16) -> Self {
        Self::connect(port, MODERN).await
    }

    /// Returns the statement's number.
    pub async fn prepare(&mut self, sql: &str) -> usize {
        self.raw.prepare(sql).await;
        self.raw.statements.len() - 1
    }

    fn command(&self, code: u8, slot: usize, rest: &[u8]) -> Vec<u8> {
        [&[code][..], &self.raw.statements[slot].to_le_bytes(), rest].concat()
    }

    /// Executes a statement with a cursor.
    pub async fn open(&mut self, slot: usize) -> Vec<Vec<u8>> {
        let command = self.command(0x17, slot, b"\x01\x01\0\0\0");
        self.raw.ask(&command, Answer::Results).await
    }

    pub async fn fetch(&mut self, slot: usize, rows: u8) -> Vec<Vec<u8>> {
        let command = self.command(0x1C, slot, &[rows, 0, 0, 0]);
        self.raw.ask(&command, Answer::Rows).await
    }

    /// The numbers in the only column of the rows of a cursor.
    pub async fn numbers(&mut self, slot: usize, rows: u8) -> Vec<i32> {
        let reply = self.fetch(slot, rows).await;
        let rows = reply.iter().filter(|packet| packet[0] == 0 && packet.len() == 6);
        rows.map(|row| i32::from_le_bytes(row[2..].try_into().unwrap())).collect()
    }

    pub async fn reset(&mut self, slot: usize) -> Vec<Vec<u8>> {
        let command = self.command(0x1A, slot, b"");
        self.raw.ask(&command, Answer::One).await
    }

    pub async fn close(&mut self, slot: usize) {
        let command = self.command(0x19, slot, b"");
        self.raw.ask(&command, Answer::Nothing).await;
    }

    /// Waits until all is done that was asked before.
    pub async fn ping(&mut self) {
        self.raw.ask(b"\x0E", Answer::One).await;
    }
}
