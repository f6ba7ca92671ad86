//! Where things of one size lie: fixed-size chunks, so that growing never moves one nor stalls the
//! writer.

/// A place in a slab. Reused after what lay there is gone.
pub(super) type Place = u32;

/// No place.
pub(super) const NONE: Place = u32::MAX;

const CHUNK_BITS: u32 = 12;
const CHUNK: usize = 1 << CHUNK_BITS;

/// Things by their places. A free place holds the default.
#[derive(Debug)]
pub(super) struct Slab<T> {
    chunks: Vec<Vec<T>>,
    free: Vec<Place>,
    live: usize,
}

impl<T: Default> Slab<T> {
    pub(super) fn new() -> Self {
        Slab { chunks: Vec::new(), free: Vec::new(), live: 0 }
    }

    /// How many things there are.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// One more than the highest place ever given out.
    pub(super) fn end(&self) -> Place {
        match self.chunks.split_last() {
            None => 0,
            Some((last, full)) => to_place(full.len() * CHUNK + last.len()),
        }
    }

    /// What lies at a place that was given out.
    pub(super) fn get(&self, place: Place) -> &T {
        &self.chunks[(place >> CHUNK_BITS) as usize][place as usize & (CHUNK - 1)]
    }

    pub(super) fn get_mut(&mut self, place: Place) -> &mut T {
        &mut self.chunks[(place >> CHUNK_BITS) as usize][place as usize & (CHUNK - 1)]
    }

    /// Puts a thing into a free place.
    pub(super) fn insert(&mut self, thing: T) -> Place {
        self.live += 1;
        if let Some(place) = self.free.pop() {
            *self.get_mut(place) = thing;
            return place;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let place = self.end();
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(thing);
        }
        place
    }

    /// Frees the place of a thing that nothing refers to any more.
    pub(super) fn remove(&mut self, place: Place) -> T {
        self.free.push(place);
        self.live -= 1;
        std::mem::take(self.get_mut(place))
    }
}

/// Places end long after memory does: four billion things of tens of bytes.
fn to_place(index: usize) -> Place {
    Place::try_from(index).unwrap_or(NONE)
}
