/** The checker itself, calibrated on histories whose answer is known. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  checkLinearizable,
  type Operation,
  type RegisterInput,
  type RegisterOutput,
  registerModel,
} from '../../../platform/histories/linearizability.ts'

type Op = Operation<RegisterInput, RegisterOutput>

const write = (client: number, called: number, returned: number | undefined, value: string | undefined): Op => ({
  client,
  called,
  returned,
  input: { type: 'write', value },
  output: returned === undefined ? undefined : { type: 'done', applied: true },
})
const read = (client: number, called: number, returned: number, value: string | undefined): Op => ({
  client,
  called,
  returned,
  input: { type: 'read' },
  output: { type: 'value', value },
})
const cas = (
  client: number,
  called: number,
  returned: number,
  expected: string | undefined,
  value: string,
  applied: boolean,
): Op => ({
  client,
  called,
  returned,
  input: { type: 'compareAndSet', expected, value },
  output: { type: 'done', applied },
})

const linearizable = (...history: Op[]): boolean => checkLinearizable(registerModel, history).ok

describe('the linearizability checker', () => {
  it('accepts sequential histories and overlapping ones that some order explains', () => {
    expect(linearizable()).toBe(true)
    expect(linearizable(write(1, 0, 1, 'a'), read(2, 2, 3, 'a'))).toBe(true)
    expect(linearizable(write(1, 0, 10, 'a'), read(2, 1, 2, undefined), read(2, 3, 4, 'a'))).toBe(true)
    expect(linearizable(write(1, 0, 10, 'a'), write(2, 0, 10, 'b'), read(3, 11, 12, 'a'))).toBe(true)
    expect(
      linearizable(cas(1, 0, 5, undefined, 'a', true), cas(2, 0, 5, undefined, 'b', false), read(1, 6, 7, 'a')),
    ).toBe(true)
  })

  it('rejects a stale read', () => {
    expect(linearizable(write(1, 0, 1, 'a'), write(1, 2, 3, 'b'), read(2, 4, 5, 'a'))).toBe(false)
    expect(linearizable(write(1, 0, 1, 'a'), read(2, 2, 3, undefined))).toBe(false)
  })

  it('rejects reads that go back in time, though each alone would do', () => {
    expect(linearizable(write(1, 0, 10, 'a'), read(2, 1, 2, 'a'), read(3, 3, 4, undefined))).toBe(false)
  })

  it('rejects a lost update and two winners', () => {
    expect(linearizable(cas(1, 0, 5, undefined, 'a', true), cas(2, 0, 5, undefined, 'b', true))).toBe(false)
  })

  it('lets an operation with an unknown answer happen late or never, but not before its call', () => {
    expect(linearizable(write(1, 0, undefined, 'a'), read(2, 5, 6, undefined), read(2, 7, 8, 'a'))).toBe(true)
    expect(linearizable(write(1, 0, undefined, 'a'), read(2, 5, 6, undefined))).toBe(true)
    expect(linearizable(write(1, 0, undefined, 'a'), read(2, 5, 6, 'a'), read(2, 7, 8, undefined))).toBe(false)
    expect(linearizable(read(2, 1, 2, 'a'), write(1, 3, undefined, 'a'))).toBe(false)
  })

  it('names what it could explain and where it got stuck', () => {
    const verdict = checkLinearizable(registerModel, [write(1, 0, 1, 'a'), read(2, 2, 3, 'b')])
    expect(verdict.ok).toBe(false)
    if (!verdict.ok) expect([verdict.explained.length, verdict.stuckAt.client]).toEqual([1, 2])
  })

  it('agrees with brute force over all orders on small random histories', () => {
    const operation = fc.record({
      client: fc.nat(2),
      called: fc.nat(8),
      length: fc.nat(6),
      known: fc.boolean(),
      kind: fc.nat(2),
      value: fc.constantFrom('a', 'b', undefined),
      applied: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 5 }), raw => {
        const history = raw.map(({ client, called, length, known, kind, value, applied }): Op => {
          const returned = known ? called + length : undefined
          const input: RegisterInput =
            kind === 0
              ? { type: 'read' }
              : kind === 1
                ? { type: 'write', value }
                : { type: 'compareAndSet', expected: 'a', value }
          const output: RegisterOutput =
            kind === 0 ? { type: 'value', value } : { type: 'done', applied: kind === 1 ? true : applied }
          return { client, called, returned, input, output: known ? output : undefined }
        })
        expect(checkLinearizable(registerModel, history).ok).toBe(bruteForce(history))
      }),
      { numRuns: 3000 },
    )
  })
})

function bruteForce(history: readonly Op[]): boolean {
  const search = (left: readonly Op[], state: string | undefined): boolean => {
    if (left.every(op => op.returned === undefined)) return true
    const firstReturn = Math.min(...left.map(op => op.returned ?? Number.POSITIVE_INFINITY))
    return left.some(op => {
      if (op.called > firstReturn) return false
      const after = registerModel.step(state, op.input, op.output)
      return (
        after !== undefined &&
        search(
          left.filter(other => other !== op),
          after.state,
        )
      )
    })
  }
  return search(history, undefined)
}
