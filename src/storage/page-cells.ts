/** What goes into a page, made from keys and values: which part of a key is its local part, and when a cell is long (`page.ts`). */
import { type Cell, slotBytes } from './page.ts'

const noBytes = new Uint8Array(0)

export function emptyCell(): Cell {
  return { key: noBytes, local: 0, long: false, restBytes: 0, valueBytes: 0, chain: 0, value: noBytes, child: 0 }
}

export function setLeafCell(
  cell: Cell,
  key: Uint8Array,
  value: Uint8Array,
  inlineMax: number,
  cellBytesMax: number,
): void {
  cell.key = key
  cell.local = Math.min(key.length, inlineMax)
  cell.restBytes = key.length - cell.local
  cell.valueBytes = value.length
  cell.long = cell.restBytes > 0 || slotBytes + 4 + cell.local + value.length > cellBytesMax
  cell.value = cell.long ? noBytes : value
}

export function separatorCell(whole: Uint8Array, inlineMax: number): Cell {
  const cell = emptyCell()
  cell.local = Math.min(whole.length, inlineMax)
  cell.key = whole.subarray(0, cell.local)
  cell.restBytes = whole.length - cell.local
  cell.long = cell.restBytes > 0
  return cell
}
