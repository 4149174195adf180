import { describe, expect, test } from 'vitest'
import { createDatabase } from '../../../src/database/database.ts'
import { openOptions } from '../../../src/database/open-options.ts'
import type { JoinOptions, OpenOptions, Signaling } from '../../../src/database/types.ts'
import { MemoryCore } from '../../conformance/memory-core.ts'

const secret = 'a secret of the room'

async function joined(options: Partial<JoinOptions>) {
  const core = new MemoryCore()
  await createDatabase(core).cluster.join({ room: 'r', secret, ...options })
  return core.joins[0]!
}

describe('what the core is told to join', () => {
  test('defaults are filled in', async () => {
    expect(await joined({})).toEqual({
      room: 'r',
      secret,
      signaling: undefined,
      ownSignaling: undefined,
      rtc: undefined,
      role: 'auto',
      bootstrap: 'auto',
      onConflict: 'fail',
    })
  })

  test('signaling is an address, several, or an implementation', async () => {
    expect(await joined({ signaling: 'ws://localhost:1' })).toMatchObject({ signaling: ['ws://localhost:1'] })
    expect(await joined({ signaling: ['ws://a', 'wss://b/c'] })).toMatchObject({ signaling: ['ws://a', 'wss://b/c'] })
    const own: Signaling = { connect: () => Promise.reject(new Error('no')) }
    expect(await joined({ signaling: own })).toMatchObject({ signaling: undefined, ownSignaling: own })
  })

  test('of rtc only what can be cloned and is used', async () => {
    const rtc = {
      iceServers: [{ urls: 'stun:a' }, { urls: ['turn:b', 'turn:c'], username: 'u', credential: 'p' }],
      iceTransportPolicy: 'relay' as const,
      certificates: [() => 1],
    }
    const { certificates: _, ...used } = rtc
    expect((await joined({ rtc })).rtc).toEqual(used)
    expect(structuredClone((await joined({ rtc })).rtc)).toEqual(used)
  })
})

describe('what every host checks when it opens', () => {
  test('a name alone is enough', () => {
    expect(openOptions('shop')).toEqual({ name: 'shop' })
    expect(openOptions({ name: 'über shop 1.2', storage: { dir: '/x' } })).toMatchObject({ storage: { dir: '/x' } })
  })

  test.each<[string, unknown]>([
    ['nothing', undefined],
    ['an empty name', ''],
    ['a path', 'a/b'],
    ['a path of another kind', 'a\\b'],
    ['a name that is hidden', '.a'],
    ['the parent', '..'],
    ['a zero', 'a\0b'],
    ['a long name', 'x'.repeat(65)],
    ['a number', 7],
    ['no name', {}],
    ['an unknown storage', { name: 'a', storage: 'cloud' }],
    ['a storage without a directory', { name: 'a', storage: { dir: '' } }],
    ['an unknown durability', { name: 'a', durability: 'eventual' }],
    ['a room without a secret', { name: 'a', cluster: { room: 'r' } }],
    ['onEvent that cannot be called', { name: 'a', onEvent: 1 }],
  ])('%s is VALIDATION', (_, options) => {
    expect(() => openOptions(options as OpenOptions)).toThrow(expect.objectContaining({ code: 'VALIDATION' }))
  })
})
