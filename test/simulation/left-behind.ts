/** A peer that was away for longer than the others' logs reach. */
import { expect } from 'vitest'
import { World, type WorldOptions } from '../../platform/simulation/world.ts'
import { type Host, hosts } from './simulated-host.ts'

/** A short log, and a state that takes many pieces. */
export const options = { checkpointBytes: 8 * 1024, limits: { messageBytesMax: 2000 } }
export const rows = 400

export function fill(host: Host, from: number, count: number): void {
  for (let i = from; i < from + count; i += 20) {
    const batch = Array.from({ length: 20 }, (_, n) => [`key ${i + n}`, `${i + n} `.repeat(20)] as const)
    expect(host.putAll(batch)).toBe('ok')
  }
}

interface Story {
  /** Keys that all three have, in the end those that the others have. */
  readonly before?: number
  readonly count?: number
  readonly disk?: WorldOptions['disk']
}

/** h2 is away while the others write more than their logs keep. */
export function leftBehind(
  seed: number,
  { before = 40, count = rows, disk = {} }: Story = {},
): { world: World; all: Host[] } {
  const world = new World(seed, { disk })
  const all = hosts(world, 3, undefined, options)
  for (const host of all) expect(host.join()).toBeUndefined()
  fill(all[0]!, 0, before)
  world.run(1000)
  world.network.partition(['h2'], ['h0', 'h1'])
  // The links are given up: nothing that is sent now arrives later.
  world.run(20_000)
  fill(all[0]!, 0, count)
  expect(all[0]!.status.raft.firstIndex).toBeGreaterThan(all[2]!.status.raft.lastIndex)
  return { world, all }
}

export const agree = (all: readonly Host[]): boolean =>
  all.every(
    ({ status }) =>
      status.raft.applied === all[0]!.status.raft.lastIndex && status.fingerprint === all[0]!.status.fingerprint,
  )

export function expectWhole(world: World, all: readonly Host[], count: number): void {
  expect(world.runUntil(() => agree(all), 60_000)).toBe(true)
  for (const host of all) {
    for (let i = 0; i < count; i += 37) expect(host.get(`key ${i}`, 'local')).toBe(`${i} `.repeat(20))
  }
}
