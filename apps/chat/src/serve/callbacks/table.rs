//! Connections by token. A token is never used for a second connection, so an event or a waker
//! that comes too late finds nothing.

use bifilar_events::Token;

/// Values in slots; a token says which slot, and which of its tenants.
#[derive(Debug)]
pub struct Table<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    /// Counts the tenants; wraps after four thousand million of them.
    tenant: u32,
    value: Option<T>,
}

impl<T> Table<T> {
    /// An empty table.
    pub fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// The token under which the next value is to be inserted.
    pub fn next_token(&mut self) -> Token {
        let index = match self.free.last() {
            Some(&index) => index,
            None => {
                let index = u32::try_from(self.slots.len()).expect("fewer than 2³² connections");
                self.slots.push(Slot { tenant: 0, value: None });
                self.free.push(index);
                index
            }
        };
        Token(u64::from(self.slots[index as usize].tenant) << 32 | u64::from(index))
    }

    /// Inserts a value under the token just asked for.
    ///
    /// # Panics
    ///
    /// When the token is not the one [`next_token`](Self::next_token) gives.
    pub fn insert(&mut self, token: Token, value: T) {
        assert_eq!(token, self.next_token(), "insert under the next token");
        self.free.pop();
        self.slots[token.0 as u32 as usize].value = Some(value);
    }

    /// The value with this token, if it is still there.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        self.slot(token)?.value.as_mut()
    }

    /// Drops the value with this token.
    pub fn remove(&mut self, token: Token) {
        let Some(slot) = self.slot(token) else { return };
        if slot.value.take().is_some() {
            slot.tenant = slot.tenant.wrapping_add(1);
            self.free.push(token.0 as u32);
        }
    }

    fn slot(&mut self, token: Token) -> Option<&mut Slot<T>> {
        let slot = self.slots.get_mut(token.0 as u32 as usize)?;
        (slot.tenant == (token.0 >> 32) as u32).then_some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_outlives_its_value_without_meaning_another() {
        let mut table = Table::new();
        let one = table.next_token();
        assert_eq!(one, table.next_token());
        table.insert(one, "one");
        let two = table.next_token();
        table.insert(two, "two");
        table.remove(one);
        table.remove(one);
        let three = table.next_token();
        table.insert(three, "three");
        assert_eq!(three.0 as u32, one.0 as u32, "the slot is used again");
        let found = [one, two, three].map(|token| table.get_mut(token).copied());
        assert_eq!(found, [None, Some("two"), Some("three")]);
    }
}
