/**
 * Items by ascending numbers, of which the lowest go first, more or less: what is under way. A `Map` would do, but one that is turned over thousands of times a second
 * makes a new table again and again, each of which V8 links from the one before: what was in them outlives its young generation, and is collected at many times the cost.
 */
export class SerialWindow<T> {
  /** items[i] has the number `first + i`; undefined: gone, or never there. Those before `head` are gone. */
  private items: (T | undefined)[] = []
  private first = 0
  private head = 0
  size = 0

  /** Greater than all that were ever added. */
  add(serial: number, item: T): void {
    if (this.size === 0) this.restart(serial)
    while (this.first + this.items.length < serial) this.items.push(undefined)
    this.items.push(item)
    this.size++
  }

  get(serial: number): T | undefined {
    return this.items[serial - this.first]
  }

  /** @returns Was it there? */
  delete(serial: number): boolean {
    const at = serial - this.first
    if (this.items[at] === undefined) return false
    this.items[at] = undefined
    this.size--
    if (at === this.head) this.advance()
    return true
  }

  /** Undefined: it is empty. */
  get firstSerial(): number | undefined {
    return this.size === 0 ? undefined : this.first + this.head
  }

  /** Ascending; what is deleted meanwhile is left out. */
  *[Symbol.iterator](): Generator<T> {
    for (let serial = this.first + this.head; serial < this.first + this.items.length; serial++) {
      const item = this.get(serial)
      if (item !== undefined) yield item
    }
  }

  private advance(): void {
    while (this.head < this.items.length && this.items[this.head] === undefined) this.head++
    if (this.head < goneMax || this.head * 2 < this.items.length) return
    this.first += this.head
    this.items.splice(0, this.head)
    this.head = 0
  }

  private restart(serial: number): void {
    this.items.length = 0
    this.first = serial
    this.head = 0
  }
}

const goneMax = 1024
