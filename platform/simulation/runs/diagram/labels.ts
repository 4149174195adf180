/** Where labels find room: none covers another one. What comes first has the choice; what finds no room is left out, and is still said when its thing is pointed at. */

const heightPx = 11
/** Of a letter, about. */
const letterPx = 5.7

interface Box {
  readonly left: number
  readonly right: number
  readonly y: number
}

export type Anchor = 'start' | 'end'

export class Labels {
  /** By rows of the height of a label: those that begin there. */
  private readonly rows = new Map<number, Box[]>()

  /** @param shifts How far it may be moved down. @returns The text element, or nothing where there is no room. `y`: of the middle of its first line. */
  text(text: string, x: number, y: number, anchor: Anchor = 'start', shifts: readonly number[] = [0]): string {
    if (text === '') return ''
    const width = text.length * letterPx
    const left = anchor === 'start' ? x : x - width
    for (const shift of shifts) {
      const box = { left, right: left + width, y: y + shift }
      if (!this.isFree(box)) continue
      const row = Math.floor(box.y / heightPx)
      this.rows.set(row, [...(this.rows.get(row) ?? []), box])
      return `<text text-anchor="${anchor}" x="${place(x)}" y="${place(box.y + 3.5)}">${escaped(text)}</text>`
    }
    return ''
  }

  private isFree({ left, right, y }: Box): boolean {
    const row = Math.floor(y / heightPx)
    return [row - 1, row, row + 1].every(near =>
      (this.rows.get(near) ?? []).every(
        box => Math.abs(box.y - y) >= heightPx || box.right + 3 <= left || right + 3 <= box.left,
      ),
    )
  }
}

export const place = (value: number): string => `${Math.round(value * 10) / 10}`

export const escaped = (text: string): string => text.replace(/[&<>"']/g, one => `&#${one.charCodeAt(0)};`)
