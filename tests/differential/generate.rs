//! Random scripts: the same seed and number give the same script.

use super::{
    script::{Bind, ClientKind, Parameter, Script, Slot, Step},
    texts,
};

/// Random numbers that are the same everywhere (splitmix64).
pub struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit as u64) as usize
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}

/// How many statements a client keeps prepared.
const SLOTS: usize = 4;

/// A statement that the client has prepared.
#[derive(Default)]
struct Prepared {
    /// A value for each of its parameters: a client binds the same types each time.
    example: Vec<Parameter>,
    bound: bool,
    /// It sets a system variable, of which MySQL may refuse a NULL by what was bound before.
    sets: bool,
    /// It asks for a cursor. Only what scans a table does, and then always: MySQL answers a statement without a cursor
    /// after one with it, and a cursor over nothing, in a way that no client library understands.
    cursor: bool,
}

struct Generator<'a> {
    dice: Dice,
    schema: &'a str,
    /// What the statement in each slot takes, and whether it was executed before.
    prepared: [Prepared; SLOTS],
    /// The slot of the statement prepared last.
    latest: usize,
}

/// The script `number` of a seed, for a schema of this name.
pub fn script(seed: u64, number: u64, schema: &str) -> Script {
    let mut dice = Dice(seed ^ number.wrapping_mul(0xD6E8_FEB8_6659_FD93));
    dice.roll();
    let kind = *dice.pick(&[ClientKind::Modern, ClientKind::Modern, ClientKind::Classic, ClientKind::FoundRows]);
    let length = 5 + dice.below(40);
    let mut generator = Generator { dice, schema, prepared: Default::default(), latest: 0 };
    let mut steps = Vec::new();
    while steps.len() < length {
        generator.burst(&mut steps);
    }
    let mut prepared = false;
    steps.retain(|step| {
        prepared |= step.text().starts_with("XA PREPARE");
        // MariaDB takes only the name of a prepared transaction from a connection that it resets: what runs on it then is
        // refused, and the transaction's locks stay for as long as the server runs.
        !(prepared && matches!(step, Step::ResetConnection | Step::ChangeUser { .. }))
    });
    Script { kind, steps }
}

impl Generator<'_> {
    /// A few steps that belong together.
    fn burst(&mut self, steps: &mut Vec<Step>) {
        match self.dice.below(40) {
            0..7 => self.binary(steps),
            7..10 => {
                let mut parts: Vec<String> = (0..2 + self.dice.below(3)).map(|_| self.statement()).collect();
                // Weir refuses a KILL beside other statements: it would name the server's own connections.
                parts.retain(|part| !part.starts_with("KILL"));
                // What writes behind a view runs on the writer once a replica has refused it, unless results went out before.
                parts.retain(|part| !part.contains("v_side") && !part.contains("v_var"));
                steps.push(Step::Query(parts.join("; ")));
            }
            10 => steps.push(self.odd_command()),
            11 => self.read_only_transaction(steps),
            12..15 => self.scenario(steps),
            15 => self.cursor(steps),
            _ => {
                let topic = self.topic();
                for _ in 0..1 + self.dice.below(4) {
                    let text = *self.dice.pick(topic);
                    let sql = self.expand(text);
                    if ["NAMES", "CHARACTER", "character_set", "collation"].iter().any(|name| sql.contains(name)) {
                        // Texts that were bound before are read in the character set of then.
                        self.prepared.iter_mut().for_each(|prepared| prepared.bound = false);
                    }
                    steps.push(Step::Query(sql));
                    self.ask_back(steps);
                }
            }
        }
    }

    fn read_only_transaction(&mut self, steps: &mut Vec<Step>) {
        self.query(texts::READ_ONLY_BEGINS, steps);
        for _ in 0..1 + self.dice.below(5) {
            let topic = *self.dice.pick(&[texts::READS, texts::READS, texts::READS, texts::WRITES, texts::INSERT_IDS]);
            self.query(topic, steps);
            if matches!(steps.last(), Some(Step::Query(sql)) if sql.contains('@')) {
                steps.pop();
            } else if self.dice.one_in(4) {
                self.query(texts::DIAGNOSTICS, steps);
            }
        }
        self.query(texts::READ_ONLY_ENDS, steps);
    }

    /// Most of a scenario, with something in between.
    fn scenario(&mut self, steps: &mut Vec<Step>) {
        for text in *self.dice.pick(texts::SCENARIOS) {
            if !self.dice.one_in(7) {
                steps.push(Step::Query(self.expand(text)));
                self.ask_back(steps);
            }
            if self.dice.one_in(5) {
                steps.push(Step::Query(self.statement()));
            }
        }
    }

    fn query(&mut self, topic: &[&str], steps: &mut Vec<Step>) {
        let text = *self.dice.pick(topic);
        steps.push(Step::Query(self.expand(text)));
    }

    fn topic(&mut self) -> &'static [&'static str] {
        let total: u32 = texts::TOPICS.iter().map(|topic| topic.weight).sum();
        let mut rolled = self.dice.below(total as usize) as u32;
        for topic in texts::TOPICS {
            if rolled < topic.weight {
                return topic.texts;
            }
            rolled -= topic.weight;
        }
        texts::READS
    }

    fn statement(&mut self) -> String {
        let topic = self.topic();
        let text = *self.dice.pick(topic);
        self.expand(text)
    }

    fn odd_command(&mut self) -> Step {
        match self.dice.below(10) {
            0 => Step::InitDb(self.schema.to_owned()),
            1 => Step::InitDb("missing".into()),
            2 => Step::FieldList("a".into()),
            3 => Step::FieldList("missing".into()),
            4 => Step::Ping,
            5 => Step::SetOption(self.dice.below(2) as u16),
            6 => Step::ResetConnection,
            7 => Step::ChangeUser { schema: Some(self.schema.to_owned()), collation: 45 },
            8 => Step::ChangeUser { schema: None, collation: *self.dice.pick(&[45, 8]) },
            _ => Step::SetOption(0),
        }
    }

    /// Prepares, and executes some of what was prepared, in some order.
    fn binary(&mut self, steps: &mut Vec<Step>) {
        let slot = self.dice.below(SLOTS);
        if self.dice.one_in(2) {
            let text = *self.dice.pick(texts::PREPARED);
            let sql = self.expand(text);
            let example = sql.matches('?').map(|_| self.parameter()).collect();
            let scan = ["SELECT * FROM a ORDER", "SELECT * FROM b ORDER"].iter().any(|text| sql.starts_with(text));
            let cursor = scan && self.dice.one_in(2);
            self.prepared[slot] = Prepared { example, bound: false, sets: sql.starts_with("SET"), cursor };
            self.latest = slot;
            steps.push(Step::Prepare { slot, sql });
        }
        for _ in 0..1 + self.dice.below(3) {
            match self.dice.below(20) {
                0 => steps.push(Step::Close(slot)),
                1 => steps.push(Step::ResetStatement(slot)),
                2 => steps.push(Step::Fetch { slot, rows: 2 }),
                3 => {
                    let texts = |parameter: &Parameter| parameter.kind == 252;
                    if let Some(parameter) = self.prepared[slot].example.iter().position(texts) {
                        let parameter = parameter as u16;
                        steps.push(Step::LongData { slot, parameter, data: "long data".into() });
                    }
                    steps.push(self.execute(slot));
                }
                _ => steps.push(self.execute(slot)),
            }
            self.ask_back(steps);
        }
    }

    /// A cursor, and what a client does before it has all the rows.
    fn cursor(&mut self, steps: &mut Vec<Step>) {
        let slot = self.dice.below(SLOTS);
        let text = *self.dice.pick(texts::SCANS);
        let sql = self.expand(text);
        self.prepared[slot] = Prepared { cursor: true, ..Prepared::default() };
        self.latest = slot;
        steps.push(Step::Prepare { slot, sql });
        steps.push(self.execute(slot));
        for _ in 0..1 + self.dice.below(5) {
            let rows = *self.dice.pick(&[1, 2, 100]);
            steps.push(match self.dice.below(8) {
                0..4 => Step::Fetch { slot, rows },
                4 => self.execute(slot),
                _ => Step::Query(self.statement()),
            });
            self.ask_back(steps);
        }
        steps.extend(match self.dice.below(4) {
            0 => Some(Step::Close(slot)),
            1 => Some(Step::ResetStatement(slot)),
            2 => Some(Step::Fetch { slot, rows: 100 }),
            _ => None,
        });
    }

    /// Sometimes asks about the statement before.
    fn ask_back(&mut self, steps: &mut Vec<Step>) {
        if !matches!(steps.last(), Some(Step::Query(_) | Step::Execute { .. })) {
            return;
        }
        let topic = match self.dice.below(8) {
            0 => texts::INSERT_IDS,
            1 if steps.last().is_some_and(Step::writes) && self.dice.one_in(4) => texts::INTO_VARIABLES,
            1 => texts::DIAGNOSTICS,
            _ => return,
        };
        for _ in 0..1 + self.dice.below(3) {
            self.query(topic, steps);
        }
    }

    fn execute(&mut self, slot: usize) -> Step {
        let last = self.dice.one_in(12);
        let slot = if last { self.latest } else { slot };
        let mut parameters = self.prepared[slot].example.clone();
        if !self.prepared[slot].sets && !parameters.is_empty() && self.dice.one_in(6) {
            let place = self.dice.below(parameters.len());
            parameters[place].value = None;
        }
        let cursor = self.prepared[slot].cursor;
        let bound = std::mem::replace(&mut self.prepared[slot].bound, true);
        let bind = if bound && self.dice.one_in(2) { Bind::AsBefore } else { Bind::Types };
        let slot = if last { Slot::Last } else { Slot::Own(slot) };
        Step::Execute { slot, cursor, parameters, bind }
    }

    fn parameter(&mut self) -> Parameter {
        let number = self.dice.below(300) as i64 - 20;
        let text = |text: &str| [&[text.len() as u8][..], text.as_bytes()].concat();
        let (kind, value) = match self.dice.below(18) {
            0 => (1, vec![number as u8]),
            1 => (2, (number as i16).to_le_bytes().to_vec()),
            2..5 => (3, (1 + number as i32 % 9).to_le_bytes().to_vec()),
            5..7 => (8, number.to_le_bytes().to_vec()),
            7 => (4, (number as f32 / 4.0).to_le_bytes().to_vec()),
            8 => (5, (number as f64 / 8.0).to_le_bytes().to_vec()),
            9 => (10, vec![4, 0xE4, 0x07, 2, 3]),
            10 => (12, vec![7, 0xE4, 0x07, 2, 3, 4, 5, 6]),
            11 => (7, vec![11, 0xE4, 0x07, 2, 3, 4, 5, 6, 0x40, 0xE2, 0x01, 0]),
            12 => (11, vec![8, 1, 1, 0, 0, 0, 2, 3, 4]),
            13 => (253, text("+03:00")),
            14 => (254, text("text ü")),
            15 => (252, text("blob")),
            16 => (246, text("12.345")),
            _ => return Parameter { kind: 6, unsigned: false, value: None },
        };
        Parameter { kind, unsigned: self.dice.one_in(6) && matches!(kind, 1 | 2 | 3 | 8), value: Some(value) }
    }

    /// Puts something in the place of every `{name}`.
    fn expand(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            out.push_str(before);
            let known = behind.split_once('}').and_then(|(name, after)| Some((self.fill(name)?, after)));
            match known {
                Some((value, after)) => {
                    out.push_str(&value);
                    rest = after;
                }
                None => {
                    out.push('{');
                    rest = behind;
                }
            }
        }
        out + rest
    }

    fn fill(&mut self, name: &str) -> Option<String> {
        Some(match name {
            "schema" => self.schema.to_owned(),
            "int" => (10 + self.dice.below(400)).to_string(),
            "small" => self.dice.below(6).to_string(),
            "id" => (1 + self.dice.below(6)).to_string(),
            "bit" => self.dice.below(2).to_string(),
            "xid" => format!("'{}'", self.schema),
            "tracked" => (*self.dice.pick(texts::TRACKED)).to_owned(),
            "level" => (*self.dice.pick(&["'OFF'", "'STATE'", "'CHARACTERISTICS'"])).to_owned(),
            "cmp" => (*self.dice.pick(&["=", "<", ">", "<>", "<=>"])).to_owned(),
            "str" => (*self.dice.pick(&["'s'", "'some text'", "''", "'ü€'", "NULL", "'it''s'", "5"])).to_owned(),
            "expr" => {
                let text = *self.dice.pick(texts::EXPRESSIONS);
                self.expand(text)
            }
            "variable" => self.dice.pick(texts::VARIABLES).0.to_owned(),
            "set" => {
                let (name, values) = self.dice.pick(texts::VARIABLES);
                let value = *self.dice.pick(values);
                format!("{name} = {}", self.expand(value))
            }
            _ => return None,
        })
    }
}
