//! The stack machine of pickles, without calls.

use std::collections::HashMap;

use super::value::{Id, Node, Object, Pickle};
use super::{Limits, PickleError, text};

/// Reads the pickle at the start of `input`, up to its STOP instruction.
///
/// # Errors
/// The pickle breaks off, is damaged, exceeds the limits, or needs what a file cannot hold
/// (extension codes and out-of-band buffers).
pub(crate) fn read<'a>(input: &'a [u8], limits: &Limits) -> Result<Pickle<'a>, PickleError> {
    let mut machine = Machine {
        input,
        position: 0,
        instruction: 0,
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    // An instruction adds at most three values, and their numbers have 32 bits.
    let most = limits.instructions.min(u32::MAX as usize / 3);
    for _ in 0..most {
        if let Some(root) = machine.step()? {
            return Ok(Pickle {
                nodes: machine.nodes,
                root,
                length: machine.position,
            });
        }
    }
    Err(PickleError::TooManyValues { limit: most })
}

struct Machine<'a> {
    input: &'a [u8],
    /// The next byte.
    position: usize,
    /// The start of the current instruction.
    instruction: usize,
    nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    /// The heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

impl<'a> Machine<'a> {
    /// Executes one instruction. Returns the result of the pickle at STOP.
    fn step(&mut self) -> Result<Option<Id>, PickleError> {
        self.instruction = self.position;
        let [opcode] = self.array()?;
        match opcode {
            // PROTO: newer protocols have other instructions, which are reported by themselves.
            0x80 => drop(self.array::<1>()?),
            // FRAME: a hint for reading ahead. A frame that exceeds the input was cut.
            0x95 => {
                let length = u64::from_le_bytes(self.array()?);
                if length > self.rest().len() as u64 {
                    return Err(PickleError::Truncated);
                }
            }
            b'.' => return self.pop().map(Some),

            // The stack and the memo.
            b'(' => self.marks.push(self.stack.len()),
            b'0' => self.discard()?,
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'g' => {
                let index = self.decimal_index()?;
                self.get(index)?;
            }
            b'h' => {
                let index = u64::from(u8::from_le_bytes(self.array()?));
                self.get(index)?;
            }
            b'j' => {
                let index = u64::from(u32::from_le_bytes(self.array()?));
                self.get(index)?;
            }
            b'p' => {
                let index = self.decimal_index()?;
                self.put(index)?;
            }
            b'q' => {
                let index = u64::from(u8::from_le_bytes(self.array()?));
                self.put(index)?;
            }
            b'r' => {
                let index = u64::from(u32::from_le_bytes(self.array()?));
                self.put(index)?;
            }
            // MEMOIZE
            0x94 => self.put(self.memo.len() as u64)?,

            // Scalars.
            b'N' => self.push(Node::None),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            b'I' => {
                let node = match self.line()? {
                    b"00" => Node::Bool(false),
                    b"01" => Node::Bool(true),
                    line => self.decimal(line)?,
                };
                self.push(node);
            }
            b'L' => {
                let line = self.line()?;
                let node = self.decimal(line.strip_suffix(b"L").unwrap_or(line))?;
                self.push(node);
            }
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.push(Node::Int(value.into()));
            }
            b'K' => {
                let value = u8::from_le_bytes(self.array()?);
                self.push(Node::Int(value.into()));
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.push(Node::Int(value.into()));
            }
            // LONG1, LONG4
            0x8a => {
                let length = self.length::<1>()?;
                self.long(length)?;
            }
            0x8b => {
                let length = self.length::<4>()?;
                self.long(length)?;
            }
            b'F' => {
                let line = std::str::from_utf8(self.line()?).ok();
                let value = line.and_then(|line| line.trim().parse().ok());
                let value = value.ok_or_else(|| self.damaged("it has no number there"))?;
                self.push(Node::Float(value));
            }
            b'G' => {
                let value = f64::from_be_bytes(self.array()?);
                self.push(Node::Float(value));
            }

            // Strings of Python 2, bytes and byte arrays.
            b'S' => {
                let literal = text::unquote(self.line()?);
                let literal = literal.ok_or_else(|| self.damaged("it has no string there"))?;
                self.push(Node::Bytes(literal.into()));
            }
            // SHORT_BINSTRING, SHORT_BINBYTES
            b'U' | b'C' => self.bytes::<1>()?,
            // BINSTRING, BINBYTES
            b'T' | b'B' => self.bytes::<4>()?,
            // BINBYTES8, BYTEARRAY8
            0x8e | 0x96 => self.bytes::<8>()?,

            // Text.
            b'V' => {
                let decoded = text::raw_unicode(self.line()?);
                let decoded = decoded.ok_or_else(|| self.damaged("it has no text there"))?;
                self.push(Node::Text(decoded.into()));
            }
            0x8c => self.text::<1>()?,
            b'X' => self.text::<4>()?,
            0x8d => self.text::<8>()?,

            // Containers.
            b']' => self.push(Node::List(Vec::new())),
            b')' => self.push(Node::Tuple(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            0x8f => self.push(Node::Set(Vec::new())),
            b'l' => {
                let items = self.pop_mark()?;
                self.push(Node::List(items));
            }
            b't' => {
                let items = self.pop_mark()?;
                self.push(Node::Tuple(items));
            }
            // TUPLE1, TUPLE2, TUPLE3
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(opcode - 0x84))?;
                self.push(Node::Tuple(items));
            }
            b'd' => {
                let pairs = self.pop_mark()?;
                let pairs = self.pairs(&pairs)?;
                self.push(Node::Dict(pairs));
            }
            // FROZENSET
            0x91 => {
                let items = self.pop_mark()?;
                self.push(Node::Set(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(&[item])?;
            }
            // APPENDS, ADDITEMS
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.extend(&items)?;
            }
            b's' => {
                let pair = self.pop_many(2)?;
                self.set_items(&pair)?;
            }
            b'u' => {
                let pairs = self.pop_mark()?;
                self.set_items(&pairs)?;
            }

            // Names, calls and objects.
            b'c' => {
                let global = self.global()?;
                self.push(global);
            }
            // STACK_GLOBAL
            0x93 => {
                let [module, name] = self.pop_array()?;
                self.push(Node::Global { module, name });
            }
            b'R' => {
                let [function, args] = self.pop_array()?;
                self.push_object(function, args);
            }
            // NEWOBJ
            0x81 => {
                let [class, args] = self.pop_array()?;
                self.push_object(class, args);
            }
            // NEWOBJ_EX
            0x92 => {
                let [class, args, _keywords] = self.pop_array()?;
                self.push_object(class, args);
            }
            b'i' => {
                let class = self.global()?;
                let class = self.add(class);
                let args = self.pop_mark()?;
                let args = self.add(Node::Tuple(args));
                self.push_object(class, args);
            }
            b'o' => {
                let mut args = self.pop_mark()?;
                if args.is_empty() {
                    return Err(self.damaged("a value is missing"));
                }
                let class = args.remove(0);
                let args = self.add(Node::Tuple(args));
                self.push_object(class, args);
            }
            b'b' => {
                let state = self.pop()?;
                let object = self.top()?;
                // Python sets the state of any value. Only objects have one that is of interest.
                if let Node::Object(object) = &mut self.nodes[object.index()] {
                    object.state = Some(state);
                }
            }

            // References to what is stored outside the pickle, by an identifier.
            b'P' => {
                let line = self.line()?;
                let id = self.add(Node::Text(String::from_utf8_lossy(line)));
                self.push(Node::Persistent(id));
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Node::Persistent(id));
            }
            0x82..=0x84 => {
                let what = "extension codes";
                return Err(PickleError::External { what });
            }
            // NEXT_BUFFER
            0x97 => {
                let what = "out-of-band buffers";
                return Err(PickleError::External { what });
            }
            // READONLY_BUFFER: values are never written here.
            0x98 => drop(self.top()?),

            _ => {
                return Err(PickleError::Opcode {
                    opcode,
                    at: self.instruction,
                });
            }
        }
        Ok(None)
    }

    // Reading.

    fn rest(&self) -> &'a [u8] {
        &self.input[self.position..]
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], PickleError> {
        let taken = self.rest().get(..length).ok_or(PickleError::Truncated)?;
        self.position += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let bytes = self.rest().first_chunk().ok_or(PickleError::Truncated)?;
        self.position += N;
        Ok(*bytes)
    }

    /// A length of `N` bytes.
    fn length<const N: usize>(&mut self) -> Result<usize, PickleError> {
        let mut bytes = [0; 8];
        bytes[..N].copy_from_slice(&self.array::<N>()?);
        // No input is longer than memory.
        usize::try_from(u64::from_le_bytes(bytes)).map_err(|_| PickleError::Truncated)
    }

    /// The rest of the line, without its end.
    fn line(&mut self) -> Result<&'a [u8], PickleError> {
        let end = self.rest().iter().position(|byte| *byte == b'\n');
        let line = self.take(end.ok_or(PickleError::Truncated)?)?;
        self.position += 1;
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }

    fn decimal(&self, line: &'a [u8]) -> Result<Node<'a>, PickleError> {
        let damaged = || self.damaged("it has no number there");
        let text = std::str::from_utf8(line).map_err(|_| damaged())?.trim();
        if let Ok(value) = text.parse() {
            return Ok(Node::Int(value));
        }
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(damaged());
        }
        Ok(Node::BigInt(text.as_bytes()))
    }

    fn decimal_index(&mut self) -> Result<u64, PickleError> {
        let line = std::str::from_utf8(self.line()?).ok();
        let index = line.and_then(|line| line.trim().parse().ok());
        index.ok_or_else(|| self.damaged("it has no number there"))
    }

    /// A little-endian integer in two's complement.
    fn long(&mut self, length: usize) -> Result<(), PickleError> {
        let bytes = self.take(length)?;
        let node = if bytes.len() <= 8 {
            let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
            let mut wide = [if negative { 0xff } else { 0 }; 8];
            wide[..bytes.len()].copy_from_slice(bytes);
            Node::Int(i64::from_le_bytes(wide))
        } else {
            Node::BigInt(bytes)
        };
        self.push(node);
        Ok(())
    }

    /// Bytes after a length of `N` bytes.
    fn bytes<const N: usize>(&mut self) -> Result<(), PickleError> {
        let length = self.length::<N>()?;
        let bytes = self.take(length)?;
        self.push(Node::Bytes(bytes.into()));
        Ok(())
    }

    /// UTF-8 after a length of `N` bytes. Python also writes lone surrogates, which become the
    /// replacement character.
    fn text<const N: usize>(&mut self) -> Result<(), PickleError> {
        let length = self.length::<N>()?;
        let text = String::from_utf8_lossy(self.take(length)?);
        self.push(Node::Text(text));
        Ok(())
    }

    /// The lines with a module and a name.
    fn global(&mut self) -> Result<Node<'a>, PickleError> {
        let (module, name) = (self.line()?, self.line()?);
        let [module, name] =
            [module, name].map(|line| self.add(Node::Text(String::from_utf8_lossy(line))));
        Ok(Node::Global { module, name })
    }

    // The stack.

    fn damaged(&self, reason: &'static str) -> PickleError {
        PickleError::Damaged {
            at: self.instruction,
            reason,
        }
    }

    fn add(&mut self, node: Node<'a>) -> Id {
        let id = Id::new(self.nodes.len());
        self.nodes.push(node);
        id
    }

    fn push(&mut self, node: Node<'a>) {
        let id = self.add(node);
        self.stack.push(id);
    }

    fn push_object(&mut self, function: Id, args: Id) {
        self.push(Node::Object(Box::new(Object {
            function,
            args,
            state: None,
            items: Vec::new(),
            pairs: Vec::new(),
        })));
    }

    /// The values above the last mark belong to an open container: instructions cannot reach below
    /// it.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id, PickleError> {
        let missing = || self.damaged("a value is missing");
        let values = self.stack.get(self.floor()..).ok_or_else(missing)?;
        values.last().copied().ok_or_else(missing)
    }

    fn pop(&mut self) -> Result<Id, PickleError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, PickleError> {
        if self.stack.len() < self.floor() + count {
            return Err(self.damaged("a value is missing"));
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    fn pop_array<const N: usize>(&mut self) -> Result<[Id; N], PickleError> {
        let values = self.pop_many(N)?;
        values
            .try_into()
            .map_err(|_| self.damaged("a value is missing"))
    }

    /// POP removes a value, or a mark that has no values above it.
    fn discard(&mut self) -> Result<(), PickleError> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    /// Removes the last mark and returns the values above it.
    fn pop_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        let mark = self.marks.pop();
        let mark = mark.ok_or_else(|| self.damaged("a mark is missing"))?;
        Ok(self.stack.split_off(mark))
    }

    fn get(&mut self, index: u64) -> Result<(), PickleError> {
        let value = self.memo.get(&index);
        let value = *value.ok_or_else(|| self.damaged("it refers to an unknown value"))?;
        self.stack.push(value);
        Ok(())
    }

    fn put(&mut self, index: u64) -> Result<(), PickleError> {
        let value = self.top()?;
        self.memo.insert(index, value);
        Ok(())
    }

    // Containers.

    fn pairs(&self, values: &[Id]) -> Result<Vec<(Id, Id)>, PickleError> {
        let (pairs, rest) = values.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.damaged("a key has no value"));
        }
        Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
    }

    fn extend(&mut self, added: &[Id]) -> Result<(), PickleError> {
        let container = self.top()?;
        match &mut self.nodes[container.index()] {
            Node::List(items) | Node::Set(items) => items.extend(added),
            Node::Object(object) => object.items.extend(added),
            _ => return Err(self.damaged("it appends to a value that is not a list")),
        }
        Ok(())
    }

    fn set_items(&mut self, added: &[Id]) -> Result<(), PickleError> {
        let added = self.pairs(added)?;
        let container = self.top()?;
        match &mut self.nodes[container.index()] {
            Node::Dict(pairs) => pairs.extend(added),
            Node::Object(object) => object.pairs.extend(added),
            _ => return Err(self.damaged("it sets an item of a value that is not a dictionary")),
        }
        Ok(())
    }
}
