//! The cells of the key-value cache: one holds what was computed of one token. Sequences that begin alike hold the same
//! cells, so a cell is free when its last holder has let go of it.

/// One cell. Which of the engine's it is, the engine knows; only how many there are matters here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Cell(u32);

#[derive(Debug)]
pub(super) struct Cells {
    /// How many sequences hold each cell.
    holders: Vec<u32>,
    free: Vec<Cell>,
}

impl Cells {
    pub(super) fn new(count: u32) -> Self {
        Self {
            holders: vec![0; count as usize],
            free: (0..count).rev().map(Cell).collect(),
        }
    }

    pub(super) fn total(&self) -> usize {
        self.holders.len()
    }

    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    pub(super) fn used(&self) -> usize {
        self.total() - self.free()
    }

    /// A free cell, from now on held once.
    ///
    /// # Panics
    /// If there is none: what is planned fits.
    pub(super) fn take(&mut self) -> Cell {
        let cell = self
            .free
            .pop()
            .expect("no more is planned than there is room for");
        self.holders[cell.0 as usize] = 1;
        cell
    }

    /// One more sequence holds a cell.
    pub(super) fn hold(&mut self, cell: Cell) {
        self.holders[cell.0 as usize] += 1;
    }

    /// One less does.
    pub(super) fn give(&mut self, cell: Cell) {
        let holders = &mut self.holders[cell.0 as usize];
        *holders -= 1;
        if *holders == 0 {
            self.free.push(cell);
        }
    }

    pub(super) fn is_shared(&self, cell: Cell) -> bool {
        self.holders[cell.0 as usize] > 1
    }

    /// How many different cells these are.
    pub(super) fn distinct<'a>(&self, cells: impl Iterator<Item = &'a Cell>) -> usize {
        let mut seen = vec![false; self.total()];
        cells
            .filter(|cell| !std::mem::replace(&mut seen[cell.0 as usize], true))
            .count()
    }
}
