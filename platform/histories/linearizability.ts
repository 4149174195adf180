/**
 * Is a history of overlapping operations linearizable? The search of Wing and Gong ("Testing and verifying concurrent objects", 1993)
 * with Lowe's memory of states already visited ("Testing for linearizability", 2017): walk over the calls and returns in real-time order, take
 * any operation that has been called as the next one if the model allows its answer, go back when the earliest return is
 * reached with its operation not taken.
 *
 * An operation whose answer nobody knows (a timeout, a crash of the client) has `returned` undefined: it may take effect at any time
 * after its call, or never. An operation that certainly had no effect is left out by the caller.
 *
 * What is remembered is exact, not a hash: the first operation (in the order of calls) that is not taken, bits for those taken beyond
 * it, bits for those of unknown outcome, and the state. So a step costs what overlaps, not what the history is long.
 */

export interface Operation<I, O> {
  readonly client: number
  readonly input: I
  /** Undefined where the answer is not known. */
  readonly output: O | undefined
  /** Virtual time, any unit; ties between a return and a call count as overlapping. */
  readonly called: number
  readonly returned: number | undefined
}

export interface Model<S, I, O> {
  readonly initial: S
  /** The state after, or undefined if `output` is not what an object in `state` answers. `output` undefined: any answer. */
  step(state: S, input: I, output: O | undefined): { readonly state: S } | undefined
  /** Equal for equal states only. */
  fingerprint(state: S): string
}

export type Verdict<I, O, S = unknown> =
  | { readonly ok: true; readonly statesVisited: number }
  | {
      readonly ok: false
      /** An order of operations that gets as far as any does, and the return that none explains: the shortest wrong prefix ends with it. */
      readonly explained: readonly Operation<I, O>[]
      readonly stuckAt: Operation<I, O>
      /** The states that some order leaves when only `stuckAt` is left to explain, sixteen at most. */
      readonly possible: readonly S[]
      readonly statesVisited: number
    }

export interface Undecided {
  readonly ok: undefined
  readonly statesVisited: number
}

interface Event {
  readonly operation: number
  readonly isCall: boolean
  readonly at: number
  position: number
  previous: Event | undefined
  next: Event | undefined
}

const possibleMax = 16
/** Looks at a call that may be spent for each state that may be remembered: bounds the time as well as the memory. */
const stepsPerState = 64

/** Worst case exponential; fast for histories that are linearizable or wrong early. Split by key first where keys are independent. */
export function checkLinearizable<S, I, O>(
  model: Model<S, I, O>,
  history: readonly Operation<I, O>[],
): Verdict<I, O, S> {
  const verdict = searchLinearization(model, history, Number.POSITIVE_INFINITY)
  if (verdict.ok === undefined) throw new Error('a search without a bound decides')
  return verdict
}

/** As `checkLinearizable`, but undecided when more than `statesMax` states would have to be remembered. */
export function searchLinearization<S, I, O>(
  model: Model<S, I, O>,
  history: readonly Operation<I, O>[],
  statesMax: number,
): Verdict<I, O, S> | Undecided {
  const { head, returns } = makeEvents(history)
  const visited = new Visited(history)
  const stack: { readonly call: Event; readonly state: S }[] = []
  const furthest = new Furthest<S>()
  let state = model.initial
  let steps = 0
  let mustReturn = history.filter(one => one.returned !== undefined).length
  let event = head.next
  while (mustReturn > 0) {
    if (event?.isCall) {
      const { operation } = event
      const { input, output } = history[operation]!
      const after = model.step(state, input, output)
      steps++
      if (visited.size >= statesMax || steps > statesMax * stepsPerState) {
        return { ok: undefined, statesVisited: visited.size }
      }
      if (after !== undefined && visited.take(operation, model.fingerprint(after.state))) {
        stack.push({ call: event, state })
        state = after.state
        unlink(event)
        const back = returns[operation]
        if (back !== undefined) {
          unlink(back)
          mustReturn--
        }
        event = head.next
      } else {
        event = event.next
      }
      continue
    }
    // A return whose operation was not taken: this order explains no more. (There is one: an operation that must return is left.)
    furthest.stuck(event!, stack, state, model)
    const last = stack.pop()
    if (last === undefined) {
      const explained = furthest.order.map(operation => history[operation]!)
      const stuckAt = history[furthest.operation]!
      return { ok: false, explained, stuckAt, possible: furthest.possible, statesVisited: visited.size }
    }
    furthest.common = Math.min(furthest.common, stack.length)
    state = last.state
    visited.giveBack(last.call.operation)
    const back = returns[last.call.operation]
    if (back !== undefined) {
      relink(back)
      mustReturn++
    }
    relink(last.call)
    event = last.call.next
  }
  return { ok: true, statesVisited: visited.size }
}

/** The last return that any order reached. The order that did shares its beginning with the present one, so that keeping it costs little. */
class Furthest<S> {
  readonly order: number[] = []
  operation = 0
  possible: S[] = []
  /** So many operations of `order` are those of the search's stack. */
  common = 0
  private position = -1
  private readonly known = new Set<string>()

  stuck(event: Event, stack: readonly { readonly call: Event }[], state: S, model: Model<S, never, never>): void {
    if (event.position < this.position) return
    const isFurther = event.position > this.position
    if (isFurther) {
      this.position = event.position
      this.operation = event.operation
      this.possible = []
      this.known.clear()
    }
    if (isFurther || stack.length > this.order.length) {
      this.order.length = this.common
      for (let at = this.common; at < stack.length; at++) this.order.push(stack[at]!.call.operation)
      this.common = stack.length
    }
    const fingerprint = model.fingerprint(state)
    if (this.known.has(fingerprint) || this.known.size >= possibleMax) return
    this.known.add(fingerprint)
    this.possible.push(state)
  }
}

/** The operations taken, and the memory of what they led to. */
class Visited {
  private readonly seen = new Set<string>()
  /** Of each operation: its rank in the order of calls among those that returned, or among those that did not. */
  private readonly ranks: readonly number[]
  private readonly isKnown: readonly boolean[]
  private readonly known: Uint32Array
  private readonly unknown: Uint32Array
  private readonly trail: { readonly low: number; readonly high: number }[] = []
  /** The first known operation that is not taken, and the last one that is. */
  private low = 0
  private high = -1

  constructor(history: readonly Operation<unknown, unknown>[]) {
    this.isKnown = history.map(one => one.returned !== undefined)
    const ranks: number[] = []
    const counts = { known: 0, unknown: 0 }
    const byCall = [...history.keys()].sort((a, b) => history[a]!.called - history[b]!.called)
    for (const operation of byCall) ranks[operation] = counts[this.isKnown[operation] ? 'known' : 'unknown']++
    this.ranks = ranks
    this.known = new Uint32Array((counts.known >>> 5) + 1)
    this.unknown = new Uint32Array(Math.ceil(counts.unknown / 32))
  }

  get size(): number {
    return this.seen.size
  }

  /** False, and nothing taken, if the same operations led to the same state before: whatever follows was tried. */
  take(operation: number, fingerprint: string): boolean {
    const rank = this.ranks[operation]!
    const before = { low: this.low, high: this.high }
    if (this.isKnown[operation]) {
      setBit(this.known, rank, true)
      this.high = Math.max(this.high, rank)
      while (hasBit(this.known, this.low)) this.low++
    } else {
      setBit(this.unknown, rank, true)
    }
    const beyond = this.known.subarray(this.low >>> 5, (this.high >>> 5) + 1)
    const key = `${this.low} ${beyond.join()} ${this.unknown.join()} ${fingerprint}`
    this.trail.push(before)
    if (this.seen.has(key)) {
      this.giveBack(operation)
      return false
    }
    this.seen.add(key)
    return true
  }

  /** Undoes the last `take`. */
  giveBack(operation: number): void {
    const before = this.trail.pop()!
    this.low = before.low
    this.high = before.high
    setBit(this.isKnown[operation] ? this.known : this.unknown, this.ranks[operation]!, false)
  }
}

/** Calls and returns in the order of time, as a list from which entries are taken and put back. Calls first at equal times. */
function makeEvents<I, O>(
  history: readonly Operation<I, O>[],
): { head: Event; returns: readonly (Event | undefined)[] } {
  const returns: (Event | undefined)[] = []
  const events: Event[] = []
  const unlinked = { position: 0, previous: undefined, next: undefined }
  for (const [operation, { called, returned }] of history.entries()) {
    events.push({ operation, isCall: true, at: called, ...unlinked })
    const back = returned === undefined ? undefined : { operation, isCall: false, at: returned, ...unlinked }
    returns.push(back)
    if (back !== undefined) events.push(back)
  }
  events.sort((a, b) => a.at - b.at || Number(b.isCall) - Number(a.isCall))
  const head: Event = { operation: -1, isCall: false, at: Number.NEGATIVE_INFINITY, ...unlinked }
  let tail = head
  for (const event of events) {
    event.position = tail.position + 1
    tail.next = event
    event.previous = tail
    tail = event
  }
  return { head, returns }
}

function unlink(event: Event): void {
  if (event.previous !== undefined) event.previous.next = event.next
  if (event.next !== undefined) event.next.previous = event.previous
}

/** Undoes `unlink`; events come back in the reverse order of their going. */
function relink(event: Event): void {
  if (event.previous !== undefined) event.previous.next = event
  if (event.next !== undefined) event.next.previous = event
}

function hasBit(bits: Uint32Array, at: number): boolean {
  return (bits[at >>> 5]! & (1 << (at & 31))) !== 0
}

function setBit(bits: Uint32Array, at: number, on: boolean): void {
  const word = at >>> 5
  const mask = 1 << (at & 31)
  bits[word] = on ? bits[word]! | mask : bits[word]! & ~mask
}

/** One key of a key-value store, with versioned writes: the objects that HarmonyDB's simple operations act on. */
export type RegisterInput =
  | { readonly type: 'read' }
  /** `undefined` deletes. */
  | { readonly type: 'write'; readonly value: string | undefined }
  /** Writes only if the value is `expected`; answers whether it did. */
  | { readonly type: 'compareAndSet'; readonly expected: string | undefined; readonly value: string | undefined }
  /** Adds to a number in JSON, of which an absent value is zero; the new value may be told. */
  | { readonly type: 'add'; readonly by: number }

export type RegisterOutput =
  | { readonly type: 'value'; readonly value: string | undefined }
  | { readonly type: 'done'; readonly applied: boolean }

export const registerModel: Model<string | undefined, RegisterInput, RegisterOutput> = {
  initial: undefined,
  step(state, input, output) {
    switch (input.type) {
      case 'read':
        return output === undefined || (output.type === 'value' && output.value === state) ? { state } : undefined
      case 'write':
        return output === undefined || (output.type === 'done' && output.applied) ? { state: input.value } : undefined
      case 'compareAndSet': {
        const applies = state === input.expected
        if (output !== undefined && (output.type !== 'done' || output.applied !== applies)) return undefined
        return { state: applies ? input.value : state }
      }
      case 'add': {
        const after = `${Number(state ?? '0') + input.by}`
        return output?.type === 'value' && output.value !== after ? undefined : { state: after }
      }
    }
  },
  fingerprint: state => (state === undefined ? '-' : `=${state}`),
}
