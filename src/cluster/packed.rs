//! Many short texts in few pieces of memory. Each on its own would cost as much again, in
//! what the allocator needs and in the holes that reading objects leaves between them; and
//! one piece that grows leaves a hole each time that it is moved.

/// The texts.
#[derive(Debug, Default)]
pub struct Packed {
    /// None of them ever grows.
    pieces: Vec<Vec<u8>>,
    /// How many bytes of them belong to no text any more.
    unused: usize,
}

/// Where one of them is.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    piece: u16,
    start: u16,
    length: u32,
}

impl Packed {
    /// The size of a piece; a longer text has one of its own.
    const PIECE: usize = 64 * 1024;

    /// Adds a text; `None` if there is no room, which is at 4 GiB.
    pub fn add(&mut self, text: &[u8]) -> Option<Place> {
        let has_room =
            |piece: &Vec<u8>| piece.capacity() - piece.len() >= text.len() && piece.len() < Packed::PIECE;
        if !self.pieces.last().is_some_and(has_room) {
            self.pieces.push(Vec::with_capacity(text.len().max(Packed::PIECE)));
        }
        let number = self.pieces.len() - 1;
        let piece = self.pieces.last_mut()?;
        let place = Place {
            piece: number.try_into().ok()?,
            start: piece.len().try_into().ok()?,
            length: text.len().try_into().ok()?,
        };
        piece.extend_from_slice(text);
        Some(place)
    }

    /// The text at this place.
    pub fn get(&self, place: Place) -> &[u8] {
        let start = usize::from(place.start);
        let piece = self.pieces.get(usize::from(place.piece));
        piece.and_then(|piece| piece.get(start..start + place.length as usize)).unwrap_or_default()
    }

    /// The text at this place is not needed any more.
    pub fn forget(&mut self, place: Place) {
        self.unused += place.length as usize;
    }

    /// Whether more than half of it is unused.
    pub fn is_sparse(&self) -> bool {
        self.unused > Packed::PIECE && self.unused > self.len() / 2
    }

    fn len(&self) -> usize {
        self.pieces.iter().map(Vec::len).sum()
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
    fn a_text_may_be_of_any_length() {
        let mut packed = Packed::default();
        let texts = [10, 70_000, 65_530, 65_536, 0, 7].map(|length: usize| vec![length as u8; length]);
        let places: Vec<Place> = texts.iter().map(|text| packed.add(text).unwrap()).collect();
        for (place, text) in places.into_iter().zip(&texts) {
            assert_eq!(packed.get(place), text);
        }
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
        assert!(packed.len() < 200 * 1024, "{}", packed.len());
        assert_eq!(packed.get(last), b"last");
    }
}
