//! The values of a pickle, and a view of one that reads it as what it stands for in Python.

use std::borrow::Cow;

/// Arguments of a call that are looked at. Many calls can share one long tuple.
const MOST_ARGUMENTS: usize = 16;

/// The number of a value within its pickle. The same value has the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Id(u32);

impl Id {
    pub(super) fn new(index: usize) -> Self {
        Self(index as u32)
    }

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A value as the pickle builds it.
#[derive(Debug)]
pub(super) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits: little-endian two's complement, or decimal digits in
    /// protocols 0 and 1.
    BigInt(&'a [u8]),
    Float(f64),
    /// `bytes`, `bytearray`, or a string of Python 2.
    Bytes(Cow<'a, [u8]>),
    Text(Cow<'a, str>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    /// `set` or `frozenset`, in the order of the file.
    Set(Vec<Id>),
    /// In the order of the file. Of equal keys, the last one counts.
    Dict(Vec<(Id, Id)>),
    /// A class or function, by the names of its module and itself.
    Global {
        module: Id,
        name: Id,
    },
    Object(Box<Object>),
    /// A reference to something outside the pickle.
    Persistent(Id),
}

/// The result of a call that was not made, and what was done with it.
#[derive(Debug)]
pub(super) struct Object {
    /// The class or function.
    pub function: Id,
    /// A tuple.
    pub args: Id,
    /// The argument of `__setstate__`.
    pub state: Option<Id>,
    /// Appended or added values.
    pub items: Vec<Id>,
    /// Items that were set.
    pub pairs: Vec<(Id, Id)>,
}

/// A class or function by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Class<'p> {
    /// The module, with dots.
    pub module: &'p str,
    /// The name, with dots for a nested class.
    pub name: &'p str,
}

impl Class<'_> {
    /// Whether it is one of Python's built-ins `names`, in Python 2 or 3.
    fn is_builtin(self, names: &[&str]) -> bool {
        matches!(self.module, "builtins" | "__builtin__") && names.contains(&self.name)
    }
}

/// The values of a pickle. They borrow long strings from its bytes.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) root: Id,
    pub(super) length: usize,
}

impl Pickle<'_> {
    /// The value that the pickle builds.
    pub(crate) fn root(&self) -> Value<'_> {
        Value::new(self, self.root)
    }

    /// All values, in the order in which the pickle makes them.
    pub(crate) fn values(&self) -> impl Iterator<Item = Value<'_>> {
        (0..self.nodes.len()).map(|index| Value::new(self, Id::new(index)))
    }

    /// The length of the pickle in bytes: another one may follow.
    pub(crate) fn len(&self) -> usize {
        self.length
    }
}

/// A value of a pickle. Copies refer to the same value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'p> {
    pickle: &'p Pickle<'p>,
    id: Id,
}

impl<'p> Value<'p> {
    fn new(pickle: &'p Pickle<'p>, id: Id) -> Self {
        Self { pickle, id }
    }

    /// The number of this value.
    pub(crate) fn id(self) -> Id {
        self.id
    }

    fn node(self) -> &'p Node<'p> {
        &self.pickle.nodes[self.id.index()]
    }

    fn at(self, id: Id) -> Self {
        Self { id, ..self }
    }

    fn each(self, ids: &'p [Id]) -> impl Iterator<Item = Self> {
        ids.iter().map(move |id| self.at(*id))
    }

    fn object(self) -> Option<&'p Object> {
        match self.node() {
            Node::Object(object) => Some(object),
            _ => None,
        }
    }

    /// A kind of value in words, for messages: "an integer", "an object of datetime.date".
    pub(crate) fn describe(self) -> Cow<'static, str> {
        Cow::Borrowed(match self.node() {
            Node::None => "None",
            Node::Bool(_) => "a boolean",
            Node::Int(_) | Node::BigInt(_) => "an integer",
            Node::Float(_) => "a number",
            Node::Bytes(_) => "bytes",
            Node::Text(_) => "text",
            Node::List(_) => "a list",
            Node::Tuple(_) => "a tuple",
            Node::Set(_) => "a set",
            Node::Dict(_) => "a dictionary",
            Node::Global { .. } => "a class or function",
            Node::Persistent(_) => "a reference",
            Node::Object(_) => {
                let Some((class, _)) = self.call() else {
                    return Cow::Borrowed("an object");
                };
                let short = |name: &str| name.chars().take(60).collect::<String>();
                return format!("an object of {}.{}", short(class.module), short(class.name))
                    .into();
            }
        })
    }

    pub(crate) fn is_none(self) -> bool {
        matches!(self.node(), Node::None)
    }

    /// Whether other values can be within it.
    pub(crate) fn is_container(self) -> bool {
        matches!(
            self.node(),
            Node::List(_) | Node::Tuple(_) | Node::Dict(_) | Node::Object(_)
        )
    }

    pub(crate) fn is_tuple(self) -> bool {
        matches!(self.node(), Node::Tuple(_))
    }

    pub(crate) fn bool(self) -> Option<bool> {
        match self.node() {
            Node::Bool(value) => Some(*value),
            // Protocol 0 and 1 of Python before 2.3.
            Node::Int(value @ (0 | 1)) => Some(*value == 1),
            _ => None,
        }
    }

    /// An integer that fits 64 bits.
    pub(crate) fn int(self) -> Option<i64> {
        match self.node() {
            Node::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// A floating-point number.
    pub(crate) fn float(self) -> Option<f64> {
        match self.node() {
            Node::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// A size or position.
    pub(crate) fn index(self) -> Option<usize> {
        usize::try_from(self.int()?).ok()
    }

    /// A list or tuple of sizes or positions.
    pub(crate) fn indices(self) -> Option<Vec<usize>> {
        self.items()?.map(Value::index).collect()
    }

    /// The stored digits of an integer of more than 64 bits: little-endian two's complement, or
    /// decimal in protocols 0 and 1.
    pub(crate) fn big_int(self) -> Option<&'p [u8]> {
        match self.node() {
            Node::BigInt(digits) => Some(digits),
            _ => None,
        }
    }

    /// Text, or a string of Python 2 that is UTF-8.
    pub(crate) fn text(self) -> Option<&'p str> {
        match self.node() {
            Node::Text(text) => Some(text),
            Node::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// `bytes`, `bytearray` or a string of Python 2. Python 3 writes bytes into protocols 0 to 2 as
    /// Latin-1 text that `_codecs.encode` converts, and a `bytearray` as a call with bytes.
    pub(crate) fn bytes(self) -> Option<Cow<'p, [u8]>> {
        let mut value = self;
        // The bytes within a call within a call.
        for _ in 0..3 {
            if let Node::Bytes(bytes) = value.node() {
                return Some(Cow::Borrowed(bytes));
            }
            let (function, args) = value.call()?;
            let encodes = function.module == "_codecs" && function.name == "encode";
            if !encodes && !function.is_builtin(&["bytes", "bytearray"]) {
                return None;
            }
            let Some(content) = args.first() else {
                return (!encodes).then_some(Cow::Borrowed(&[]));
            };
            if let Node::Text(text) = content.node() {
                let byte = |c: char| u8::try_from(u32::from(c)).ok();
                return text
                    .chars()
                    .map(byte)
                    .collect::<Option<_>>()
                    .map(Cow::Owned);
            }
            value = *content;
        }
        None
    }

    /// The values of a list, tuple, set or deque.
    pub(crate) fn items(self) -> Option<impl Iterator<Item = Self>> {
        let plain = |value: Self| match value.node() {
            Node::List(items) | Node::Tuple(items) | Node::Set(items) => Some(items.as_slice()),
            _ => None,
        };
        if let Some(items) = plain(self) {
            return Some(self.each(items).chain(self.each(&[])));
        }
        let object = self.object()?;
        let (class, args) = self.call()?;
        let is_sequence = class.is_builtin(&["list", "tuple", "set", "frozenset"])
            || (class.module == "collections" && class.name == "deque");
        let initial = args.first().copied().and_then(plain);
        is_sequence.then(|| {
            self.each(initial.unwrap_or(&[]))
                .chain(self.each(&object.items))
        })
    }

    /// The keys and values of a dictionary or an object with items, as `OrderedDict`, in the order
    /// of the file.
    pub(crate) fn entries(self) -> Option<Vec<(Self, Self)>> {
        let pairs = |pairs: &'p [(Id, Id)]| {
            let pair = move |(key, value): &(Id, Id)| (self.at(*key), self.at(*value));
            pairs.iter().map(pair).collect::<Vec<_>>()
        };
        let object = match self.node() {
            Node::Dict(own) => return Some(pairs(own)),
            Node::Object(object) => object,
            _ => return None,
        };
        let (class, args) = self.call()?;
        let is_dict = |base: Option<&Self>| {
            let base = base.and_then(|base| base.global());
            base.is_some_and(|base| base.is_builtin(&["dict"]))
        };
        // The argument from which a call makes the first entries.
        let initial = match (class.module, class.name) {
            ("collections", "OrderedDict" | "Counter") => args.first(),
            ("collections", "defaultdict") => args.get(1),
            _ if class.is_builtin(&["dict"]) => args.first(),
            // A subclass of a dictionary in protocols 0 and 1: its base class and the base's state.
            _ if is_dict(args.first()) => args.get(1),
            _ if !object.pairs.is_empty() => None,
            _ => return None,
        };
        let mut entries = match initial.map(|value| value.node()) {
            Some(Node::Dict(own)) => pairs(own),
            // A list of pairs, as Python 2.6 writes an `OrderedDict`.
            Some(Node::List(items)) => {
                let pair = |item: Value<'p>| match item.node() {
                    Node::List(pair) | Node::Tuple(pair) => match pair[..] {
                        [key, value] => Some((self.at(key), self.at(value))),
                        _ => None,
                    },
                    _ => None,
                };
                self.each(items).filter_map(pair).collect()
            }
            _ => Vec::new(),
        };
        entries.extend(pairs(&object.pairs));
        Some(entries)
    }

    /// The value of a dictionary at a key of text.
    pub(crate) fn get(self, key: &str) -> Option<Self> {
        let entries = self.entries()?;
        let found = entries.iter().rev();
        let mut found = found.filter(|(name, _)| name.text() == Some(key));
        found.next().map(|(_, value)| *value)
    }

    /// The name of a class or function.
    pub(crate) fn global(self) -> Option<Class<'p>> {
        match self.node() {
            Node::Global { module, name } => Some(Class {
                module: self.at(*module).text()?,
                name: self.at(*name).text()?,
            }),
            _ => None,
        }
    }

    /// The identifier of something outside the pickle.
    pub(crate) fn persistent_id(self) -> Option<Self> {
        match self.node() {
            Node::Persistent(id) => Some(self.at(*id)),
            _ => None,
        }
    }

    /// The class or function of an object, and the arguments. The helpers of Python's `copyreg` that
    /// make an object are replaced by the object's class.
    pub(crate) fn call(self) -> Option<(Class<'p>, Vec<Self>)> {
        let object = self.object()?;
        let class = self.at(object.function);
        let mut args = match self.at(object.args).node() {
            Node::Tuple(args) => self.each(args).take(MOST_ARGUMENTS).collect(),
            _ => Vec::new(),
        };
        let global = class.class()?;
        let makes_object = matches!(global.module, "copyreg" | "copy_reg")
            && matches!(
                global.name,
                "__newobj__" | "__newobj_ex__" | "_reconstructor"
            );
        if makes_object && !args.is_empty() {
            let class = args.remove(0).class()?;
            return Some((class, args));
        }
        Some((global, args))
    }

    /// A class by name. PyTorch's old files keep the classes of modules with their source code
    /// as `('module', class, file, source)` outside the pickle.
    fn class(self) -> Option<Class<'p>> {
        let Some(id) = self.persistent_id() else {
            return self.global();
        };
        let mut parts = id.items()?;
        let first = parts.next()?;
        match first.text() {
            Some("module") => parts.next()?.global(),
            _ => first.global(),
        }
    }

    /// What an object's state was set to.
    pub(crate) fn state(self) -> Option<Self> {
        Some(self.at(self.object()?.state?))
    }

    /// The names and values of an object's attributes, including its slots.
    pub(crate) fn attributes(self) -> Vec<(Self, Self)> {
        let Some(state) = self.state() else {
            return Vec::new();
        };
        if let Some(entries) = state.entries() {
            return entries;
        }
        // A pair of the dictionary and the slots, each of which may be None.
        let parts = state.is_tuple().then(|| state.items()).flatten();
        parts
            .into_iter()
            .flatten()
            .filter_map(Value::entries)
            .flatten()
            .collect()
    }

    /// The value of an attribute.
    #[cfg(test)]
    pub(crate) fn attribute(self, name: &str) -> Option<Self> {
        let attributes = self.attributes();
        let mut found = attributes.iter().rev();
        let found = found.find(|(key, _)| key.text() == Some(name))?;
        Some(found.1)
    }
}
