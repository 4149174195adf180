/**
 * Is a history of overlapping operations linearizable? The search of Wing and Gong ("Testing and verifying concurrent objects", 1993)
 * with Lowe's memory of states already visited ("Testing for linearizability", 2017): walk over the calls and returns in real-time order, take
 * any operation that has been called as the next one if the model allows its answer, go back when the earliest return is
 * reached with its operation not taken.
 *
 * An operation whose answer nobody knows (a timeout, a crash of the client) has `returned` undefined: it may take effect at any time
 * after its call, or never. An operation that certainly had no effect is left out by the caller.
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

export type Verdict<I, O> =
  | { readonly ok: true; readonly statesVisited: number }
  | {
      readonly ok: false
      /** As many operations as any order could explain, in that order, and the first return that none could. */
      readonly explained: readonly Operation<I, O>[]
      readonly stuckAt: Operation<I, O>
      readonly statesVisited: number
    }

interface Event {
  readonly operation: number
  readonly isCall: boolean
  readonly at: number
  previous: Event | undefined
  next: Event | undefined
}

/** Worst case exponential; fast for histories that are linearizable or wrong early. Split by key first where keys are independent. */
export function checkLinearizable<S, I, O>(model: Model<S, I, O>, history: readonly Operation<I, O>[]): Verdict<I, O> {
  const { head, returns } = makeEvents(history)
  const taken = new Uint32Array(Math.ceil(history.length / 32))
  const visited = new Set<string>()
  const stack: { readonly call: Event; readonly state: S }[] = []
  let state = model.initial
  let best: readonly number[] = []
  let stuck: number | undefined
  let mustReturn = history.filter(one => one.returned !== undefined).length
  let event = head.next
  while (mustReturn > 0) {
    if (event?.isCall) {
      const { operation } = event
      const { input, output } = history[operation]!
      const after = model.step(state, input, output)
      if (after !== undefined && remember(visited, taken, operation, model.fingerprint(after.state))) {
        stack.push({ call: event, state })
        state = after.state
        setBit(taken, operation, true)
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
    // A return whose operation was not taken (or the end of the calls): this order explains no more.
    if (stack.length >= best.length || stuck === undefined) {
      best = stack.map(step => step.call.operation)
      stuck = event?.operation ?? stuck
    }
    const last = stack.pop()
    if (last === undefined) {
      const explained = best.map(operation => history[operation]!)
      return { ok: false, explained, stuckAt: history[stuck ?? 0]!, statesVisited: visited.size }
    }
    state = last.state
    setBit(taken, last.call.operation, false)
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

/** Calls and returns in the order of time, as a list from which entries are taken and put back. Calls first at equal times. */
function makeEvents<I, O>(
  history: readonly Operation<I, O>[],
): { head: Event; returns: readonly (Event | undefined)[] } {
  const returns: (Event | undefined)[] = []
  const events: Event[] = []
  for (const [operation, { called, returned }] of history.entries()) {
    events.push({ operation, isCall: true, at: called, previous: undefined, next: undefined })
    const back =
      returned === undefined
        ? undefined
        : { operation, isCall: false, at: returned, previous: undefined, next: undefined }
    returns.push(back)
    if (back !== undefined) events.push(back)
  }
  events.sort((a, b) => a.at - b.at || Number(b.isCall) - Number(a.isCall))
  const head: Event = {
    operation: -1,
    isCall: false,
    at: Number.NEGATIVE_INFINITY,
    previous: undefined,
    next: undefined,
  }
  let tail = head
  for (const event of events) {
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

function setBit(bits: Uint32Array, at: number, on: boolean): void {
  const word = at >>> 5
  const mask = 1 << (at & 31)
  bits[word] = on ? bits[word]! | mask : bits[word]! & ~mask
}

/** False if the same operations led to the same state before: whatever follows was tried. */
function remember(visited: Set<string>, taken: Uint32Array, operation: number, fingerprint: string): boolean {
  setBit(taken, operation, true)
  const key = `${taken.join(',')}|${fingerprint}`
  setBit(taken, operation, false)
  if (visited.has(key)) return false
  visited.add(key)
  return true
}

/** One key of a key-value store, with versioned writes: the objects that HarmonyDB's simple operations act on. */
export type RegisterInput =
  | { readonly type: 'read' }
  /** `undefined` deletes. */
  | { readonly type: 'write'; readonly value: string | undefined }
  /** Writes only if the value is `expected`; answers whether it did. */
  | { readonly type: 'compareAndSet'; readonly expected: string | undefined; readonly value: string | undefined }

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
    }
  },
  fingerprint: state => (state === undefined ? '-' : `=${state}`),
}
