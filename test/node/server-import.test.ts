import { describe, expect, test } from 'vitest'

/** What a browser has and a server does not have, or has otherwise: touching one is a failure. */
const browserGlobals = [
  'window',
  'document',
  'self',
  'location',
  'indexedDB',
  'sessionStorage',
  'localStorage',
  'navigator',
  'Worker',
  'RTCPeerConnection',
  'BroadcastChannel',
  'addEventListener',
]

describe('the browser build on a server', () => {
  test('refuses to open, with a reason', async () => {
    const { open } = await import('../../platform/browser/page/entry.ts')
    await expect(open('x')).rejects.toMatchObject({ code: 'VALIDATION', message: expect.stringContaining('browsers') })
  })

  test('touches no browser global when it is imported', async () => {
    const touched: string[] = []
    const before = new Map<string, PropertyDescriptor | undefined>()
    for (const name of browserGlobals) {
      before.set(name, Object.getOwnPropertyDescriptor(globalThis, name))
      Object.defineProperty(globalThis, name, {
        configurable: true,
        get() {
          touched.push(name)
          return undefined
        },
      })
    }
    try {
      const harmony = await import('../../platform/browser/page/entry.ts')
      expect(typeof harmony.open).toBe('function')
      expect(harmony.isHarmonyError(new Error('x'))).toBe(false)
      expect(touched).toEqual([])
    } finally {
      for (const [name, descriptor] of before) {
        if (descriptor === undefined) Reflect.deleteProperty(globalThis, name)
        else Object.defineProperty(globalThis, name, descriptor)
      }
    }
  })
})
