// How many tiles stand side by side: large, well shaped, and without a lonely one in the last row.

const NARROWEST = 186
const GAP = 8
const AROUND = 24
const HEADER = 61
const SHAPE = 1.6

export function mostColumns(width: number): number {
  return Math.max(1, Math.floor((width - AROUND + GAP) / (NARROWEST + GAP)))
}

/** For one line that fills the screen. */
export function columnsFor(tiles: number, width: number, height: number): number {
  let best = 1
  let least = Infinity
  for (let columns = 1; columns <= Math.min(tiles, mostColumns(width)); columns++) {
    const rows = Math.ceil(tiles / columns)
    const shape = (width - AROUND) / columns / ((height - HEADER - AROUND) / rows)
    const cost = Math.abs(Math.log(shape / SHAPE)) + (rows * columns - tiles) / tiles
    if (cost < least) [best, least] = [columns, cost]
  }
  return best
}

/** For lines below each other: as few rows as the width allows, then as few columns as these rows need. */
export function sharedColumns(lines: number[], most: number): number {
  return Math.max(1, ...lines.map((tiles) => Math.ceil(tiles / Math.max(1, Math.ceil(tiles / most)))))
}
