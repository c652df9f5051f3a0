//! Many short texts in one piece of memory. Each on its own would cost as much again, in
//! what the allocator needs and in the holes that reading objects leaves between them.

/// The texts.
#[derive(Debug, Default)]
pub struct Packed {
    bytes: Vec<u8>,
    /// How many of them belong to no text any more.
    unused: usize,
}

/// Where one of them is.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    start: u32,
    length: u32,
}

impl Packed {
    /// Less than this is not worth the work.
    const SMALL: usize = 64 * 1024;

    /// Adds a text; `None` if there is no room, which is at 4 GiB.
    pub fn add(&mut self, text: &[u8]) -> Option<Place> {
        let place = Place { start: self.bytes.len().try_into().ok()?, length: text.len().try_into().ok()? };
        self.bytes.extend_from_slice(text);
        Some(place)
    }

    /// The text at this place.
    pub fn get(&self, place: Place) -> &[u8] {
        let start = place.start as usize;
        self.bytes.get(start..start + place.length as usize).unwrap_or_default()
    }

    /// The text at this place is not needed any more.
    pub fn forget(&mut self, place: Place) {
        self.unused += place.length as usize;
    }

    /// Whether more than half of it is unused.
    pub fn is_sparse(&self) -> bool {
        self.unused > Packed::SMALL && self.unused > self.bytes.len() / 2
    }

    /// Moves together what is still needed, which `places` are.
    pub fn compact<'p>(&mut self, places: impl Iterator<Item = &'p mut Place>) {
        let mut fresh = Packed::default();
        for place in places {
            if let Some(moved) = fresh.add(self.get(*place)) {
                *place = moved;
            }
        }
        *self = fresh;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_where_they_were_put() {
        let mut packed = Packed::default();
        let [one, two, none] = ["one", "two", ""].map(|text| packed.add(text.as_bytes()).unwrap());
        assert_eq!([packed.get(one), packed.get(two), packed.get(none)], [b"one".as_slice(), b"two", b""]);
    }

    #[test]
    fn what_is_forgotten_leaves_no_hole_for_ever() {
        let mut packed = Packed::default();
        let text = [b'x'; 1024];
        let first = packed.add(&text).unwrap();
        packed.forget(first);
        let mut last = packed.add(b"last").unwrap();
        for _ in 0..1_000 {
            let place = packed.add(&text).unwrap();
            packed.forget(place);
            if packed.is_sparse() {
                packed.compact([&mut last].into_iter());
            }
        }
        assert!(packed.bytes.len() < 200 * 1024, "{}", packed.bytes.len());
        assert_eq!(packed.get(last), b"last");
    }
}
