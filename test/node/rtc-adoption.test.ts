/** The marks by which two sides of an adopted connection find each other, over a lane whose every move the test decides. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type Adoption, createAdoption } from '../../platform/network/adoption.ts'
import type { Clock } from '../../src/platform.ts'

/** Two sides; marks are delivered, or lost, only when the test says so. */
function pair(): {
  sides: [Adoption, Adoption]
  wires: [Uint8Array[], Uint8Array[]]
  met: [number, number]
  tick(): void
} {
  const timers = new Set<() => void>()
  const clock: Clock = {
    now: () => 0,
    wall: () => 0,
    soon: run => run(),
    after(_, run) {
      timers.add(run)
      return () => timers.delete(run)
    },
  }
  const wires: [Uint8Array[], Uint8Array[]] = [[], []]
  const met: [number, number] = [0, 0]
  const side = (i: 0 | 1): Adoption =>
    createAdoption({ initiator: i === 0, clock, send: mark => wires[i].push(mark), met: () => met[i]++ })
  return {
    sides: [side(0), side(1)],
    wires,
    met,
    tick() {
      const due = [...timers]
      timers.clear()
      for (const run of due) run()
    },
  }
}

it('both meet once, whatever is lost before both are there, and data follow mark 1 untouched', () => {
  const step = fc.constantFrom('begin 0', 'begin 1', 'tick', 'deliver 0', 'deliver 1')
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), steps => {
      const { sides, wires, met, tick } = pair()
      const begun = [false, false]
      const data: [number[], number[]] = [[], []]
      const sentData: [number[], number[]] = [[], []]
      const deliver = (from: 0 | 1): void => {
        const to = from === 0 ? 1 : 0
        const bytes = wires[from].shift()
        // Who is not there loses what is sent to it.
        if (bytes === undefined || !begun[to]) return
        const isMark = sides[to].take(bytes)
        expect(isMark).toBeDefined()
        if (isMark === false) data[to].push(bytes[0]!)
        // As soon as a side may send, it sends what looks like marks.
        if (met[to] === 1 && sentData[to].length === 0) {
          for (const byte of [0, 1, 2]) {
            wires[to].push(Uint8Array.of(byte))
            sentData[to].push(byte)
          }
        }
      }
      const act = (name: string): void => {
        const i = name.endsWith('1') ? 1 : 0
        if (name === 'tick') tick()
        else if (name.startsWith('deliver')) deliver(i)
        else if (!begun[i]) {
          begun[i] = true
          sides[i].begin()
        }
      }
      for (const name of steps) act(name)
      for (const name of ['begin 0', 'begin 1']) act(name)
      for (let i = 0; i < 60; i++) {
        act('tick')
        act('deliver 0')
        act('deliver 1')
      }
      for (let i = 0; i < 200; i++) {
        act('deliver 0')
        act('deliver 1')
      }
      expect(met).toEqual([1, 1])
      expect(data[1]).toEqual(sentData[0])
      expect(data[0]).toEqual(sentData[1])
      expect(sentData.flat()).toEqual([0, 1, 2, 0, 1, 2])
    }),
  )
})

it('an answer that cannot leave yet leaves when the channels are open', () => {
  const { sides, wires, met } = pair()
  sides[0].begin()
  expect(sides[1].take(wires[0].shift()!)).toBe(true)
  expect(met).toEqual([0, 0])
  sides[1].begin()
  expect(met).toEqual([0, 1])
  sides[0].take(wires[1].shift()!)
  expect(met).toEqual([1, 1])
})

it('anything but a mark before mark 1 is out of place', () => {
  for (const bytes of [[], [2], [0, 0], [255]]) expect(pair().sides[0].take(Uint8Array.from(bytes))).toBeUndefined()
})
