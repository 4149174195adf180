/**
 * Spans of keys, and an index of what lies on them. A key is a string here, one character a byte: strings compare as the bytes do, and are found in a map.
 *
 * Single keys are found by a map, spans of several by looking through all of them: locks on ranges are few beside those on keys. For a span, the keys inside are found by a
 * sorted list, which is made when it is first needed and kept up from then on.
 */
import { keyText } from '../base/key-map.ts'

/** from ≤ key < to; `to` undefined: without end. */
export interface Span {
  readonly from: string
  readonly to: string | undefined
}

export const keySpan = (key: Uint8Array): Span => {
  const from = keyText(key)
  return { from, to: `${from}\0` }
}

export const rangeSpan = (from: Uint8Array | undefined, to: Uint8Array | undefined): Span => ({
  from: from === undefined ? '' : keyText(from),
  to: to === undefined ? undefined : keyText(to),
})

export const isOneKey = ({ from, to }: Span): boolean =>
  to?.length === from.length + 1 && to.charCodeAt(from.length) === 0 && to.startsWith(from)

export const isEmpty = ({ from, to }: Span): boolean => to !== undefined && to <= from

export const overlap = (a: Span, b: Span): boolean =>
  (b.to === undefined || a.from < b.to) && (a.to === undefined || b.from < a.to)

/** All of `inner` is in `outer`. */
export const covers = (outer: Span, inner: Span): boolean =>
  outer.from <= inner.from && (outer.to === undefined || (inner.to !== undefined && inner.to <= outer.to))

export interface Spanned {
  readonly span: Span
}

export class SpanIndex<T extends Spanned> {
  private readonly byKey = new Map<string, T[]>()
  private readonly ranges: T[] = []
  /** The keys of `byKey`, ascending; undefined: nobody asked for a range yet. */
  private sorted: string[] | undefined
  size = 0

  add(item: T): void {
    this.size++
    const { span } = item
    if (!isOneKey(span)) {
      this.ranges.push(item)
      return
    }
    const known = this.byKey.get(span.from)
    if (known !== undefined) {
      known.push(item)
      return
    }
    this.byKey.set(span.from, [item])
    if (this.sorted !== undefined) this.sorted.splice(placeOf(this.sorted, span.from), 0, span.from)
  }

  remove(item: T): void {
    const { span } = item
    const list = isOneKey(span) ? (this.byKey.get(span.from) ?? []) : this.ranges
    const at = list.indexOf(item)
    if (at < 0) return
    this.size--
    list.splice(at, 1)
    if (list.length > 0 || list === this.ranges) return
    this.byKey.delete(span.from)
    if (this.sorted !== undefined) this.sorted.splice(placeOf(this.sorted, span.from), 1)
  }

  /** Calls `visit` for each item that overlaps the span, in the order in which those of one key were added, until it answers true. */
  some(span: Span, visit: (item: T) => boolean): boolean {
    for (const item of this.ranges) if (overlap(item.span, span) && visit(item)) return true
    if (isOneKey(span)) return this.byKey.get(span.from)?.some(visit) === true
    this.sorted ??= [...this.byKey.keys()].sort((a, b) => (a < b ? -1 : 1))
    for (let at = placeOf(this.sorted, span.from); at < this.sorted.length; at++) {
      const key = this.sorted[at] as string
      if (span.to !== undefined && key >= span.to) break
      if (this.byKey.get(key)?.some(visit) === true) return true
    }
    return false
  }
}

/** Of the first that is not below `key`. */
function placeOf(sorted: readonly string[], key: string): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((sorted[middle] as string) < key) low = middle + 1
    else high = middle
  }
  return low
}
