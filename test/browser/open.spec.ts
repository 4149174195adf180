/** `open` in a real Chromium: storage slots, workers and their ends, and the database's rules through the public entry. */
import { expect, test } from '@playwright/test'
import { call, type Here, serveTabs, tab } from './open-tabs.ts'

serveTabs()

const durable = { name: 'shop', storage: 'auto' }
const fleeting = { name: 'shop', storage: 'memory' }

test.describe('storage slots', () => {
  test('a reloaded tab is the same peer, with its data', async ({ context }) => {
    const page = await tab(context)
    const self = await call(page, 'start', durable)
    await call(page, 'put', 'lamp', 3)
    for (let i = 0; i < 3; i++) {
      await page.reload()
      expect(await call(page, 'start', durable)).toBe(self)
      expect(await call(page, 'get', 'lamp')).toBe(3)
      expect(await call(page, 'slots', 'shop')).toEqual([0])
    }
  })

  test('a second tab is another peer; the last one to close leaves its slot to the next to open', async ({
    context,
  }) => {
    const first = await tab(context)
    const self = await call(first, 'start', durable)
    await call(first, 'put', 'lamp', 3)
    const second = await tab(context)
    const other = await call(second, 'start', durable)
    expect(other).not.toBe(self)
    expect(await call(second, 'get', 'lamp')).toBeUndefined()
    await call(second, 'put', 'chair', 1)
    await first.close()
    await second.close()
    const again = await tab(context)
    expect(await call(again, 'start', durable)).toBe(self)
    const third = await tab(context)
    expect(await call(third, 'start', durable)).toBe(other)
    expect(await call(third, 'get', 'chair')).toBe(1)
  })

  test('pitfall 25: a duplicated tab gets a slot of its own', async ({ context }) => {
    const page = await tab(context)
    const self = await call(page, 'start', durable)
    const opening = context.waitForEvent('page')
    await page.evaluate(() => void open(location.href))
    const copy = await opening
    await copy.waitForLoadState()
    expect(await call(copy, 'slots', 'shop')).toEqual([0])
    expect(await call(copy, 'start', durable)).not.toBe(self)
    expect(await call(copy, 'slots', 'shop')).toEqual([1, 0])
    await copy.reload()
    expect(await call(copy, 'start', durable)).not.toBe(self)
  })

  test('ten tabs at once get ten slots', async ({ context }) => {
    const pages = await Promise.all(Array.from({ length: 10 }, () => tab(context)))
    const peers = await Promise.all(pages.map(page => call(page, 'start', durable)))
    expect(new Set(peers).size).toBe(10)
  })

  test('two databases of one name in one page are two peers, and stay them', async ({ context }) => {
    const page = await tab(context)
    const peers = [await call(page, 'start', durable), await call(page, 'start', durable)]
    expect(peers[0]).not.toBe(peers[1])
    await page.reload()
    const after = [await call(page, 'start', durable), await call(page, 'start', durable)]
    expect(after.sort()).toEqual(peers.sort())
  })

  test('a database that was closed opens again at once, as the same peer', async ({ context }) => {
    const page = await tab(context)
    const self = await call(page, 'start', durable)
    await call(page, 'put', 'lamp', 3)
    for (let i = 0; i < 5; i++) {
      await call(page, 'close', -1)
      expect(await call(page, 'start', durable)).toBe(self)
    }
    expect(await call(page, 'get', 'lamp', -1)).toBe(3)
    await call(page, 'close', -1)
    await expect.poll(() => call(page, 'locksHeld')).toEqual([])
  })
})

for (const choice of ['auto', 'page', 'own'] as const) {
  test(`worker: ${choice} opens, stores and closes`, async ({ context }) => {
    const page = await tab(context)
    await call(page, 'start', durable, choice)
    await call(page, 'put', 'lamp', { n: 3 })
    expect(await call(page, 'get', 'lamp')).toEqual({ n: 3 })
    await call(page, 'close')
    await expect.poll(() => call(page, 'locksHeld')).toEqual([])
  })
}

test.describe('failures', () => {
  test('a worker that is killed: what is pending and what comes later is CLOSED', async ({ context }) => {
    const page = await tab(context)
    await call(page, 'start', fleeting, 'own')
    const { pending, later } = (await call(page, 'killWorker')) as Record<string, string[]>
    expect(pending?.[0]).toMatch(/^(CLOSED maybe|done)$/)
    expect(pending?.[1]).toMatch(/^(CLOSED|done)$/)
    expect(later).toEqual(['CLOSED', 'CLOSED'])
    await call(page, 'close')
  })

  test('a worker that cannot be loaded is a clear error', async ({ context }) => {
    const page = await tab(context)
    expect(await call(page, 'startFailing', fleeting, 'missing')).toMatch(
      /^VALIDATION: the worker could not be started.*worker:/,
    )
    expect(await call(page, 'startFailing', fleeting, 'nothing')).toMatch(/^VALIDATION: .*must return a Worker/)
    expect(await call(page, 'startFailing', { name: 'x', storage: { dir: '/tmp' } })).toMatch(/^VALIDATION: .*for Node/)
    expect(await call(page, 'startFailing', { name: '' })).toMatch(/^VALIDATION: name/)
    expect(await call(page, 'startFailing', { name: 'x', cluster: { room: 'r', secret: 's' } })).toMatch(
      /^VALIDATION: secret/,
    )
    expect(await call(page, 'locksHeld')).toEqual([])
  })

  test('a worker that is not ours does not keep open waiting', async ({ context }) => {
    const page = await tab(context)
    await page.clock.install()
    let outcome: unknown
    const opening = call(page, 'startFailing', fleeting, 'silent').then(failure => {
      outcome = failure
    })
    // Whenever it starts to wait: half a minute passes at once, until it has given up.
    while (outcome === undefined) await page.clock.runFor(31_000)
    await opening
    expect(outcome).toMatch(/^VALIDATION: .*does not answer/)
  })

  test('leaving the page closes the database', async ({ context }) => {
    const page = await tab(context)
    await call(page, 'start', durable)
    expect(await call(page, 'leavePage')).toEqual(['CLOSED'])
    await expect.poll(() => call(page, 'locksHeld')).toEqual([])
  })
})

for (const own of [false, true]) {
  test(`tabs that join a room are one database${own ? ', also by a signaling of their own' : ''}`, async ({
    context,
  }) => {
    const pages = await Promise.all([tab(context), tab(context), tab(context)])
    for (const page of pages) await call(page, 'start', durable)
    const joined = (await Promise.all(pages.map(page => call(page, 'join', 'room', own)))) as { clusterId: string }[]
    expect(new Set(joined.map(status => status.clusterId)).size).toBe(1)
    for (const [i, page] of pages.entries()) {
      await expect.poll(async () => ((await call(page, 'members')) as unknown[]).length).toBe(3)
      await call(page, 'put', `key ${i}`, i)
    }
    for (const page of pages) {
      for (const i of pages.keys()) expect(await call(page, 'get', `key ${i}`)).toBe(i)
    }
  })
}

for (const choice of ['auto', 'page'] as const) {
  test(`worker ${choice}: a connection of the page's own links two databases without any signalling`, async ({
    context,
  }) => {
    const page = await tab(context)
    await call(page, 'start', fleeting, choice)
    await call(page, 'start', fleeting, choice)
    expect(await call(page, 'adoptNothing')).toBe('VALIDATION')
    expect(await call(page, 'joinByOwnConnection', 'room')).toBe(2)
    await call(page, 'put', 'lamp', 3, 0)
    expect(await call(page, 'get', 'lamp', 1)).toBe(3)
    expect(await call(page, 'adoptNothing')).toBe('VALIDATION')
  })
}

for (const [what, storage, where, rulesMin] of [
  ['the database', 'memory', 'worker', 60],
  ['the database', 'memory', 'page', 60],
  ['the database', 'indexeddb', 'worker', 60],
  ['the database', 'opfs', 'worker', 60],
  ['transactions', 'opfs', 'worker', 40],
  ['locks', 'opfs', 'worker', 12],
  ['prepared transactions', 'indexeddb', 'worker', 14],
  ['watches', 'opfs', 'worker', 7],
] as const) {
  test(`rules are kept by ${what}: ${storage}, in the ${where}`, async ({ context }) => {
    test.setTimeout(120_000)
    const page = await tab(context)
    const outcomes = (await call(page, 'suite', what, storage, where)) as Awaited<ReturnType<Here['suite']>>
    expect(outcomes.flatMap(({ name, error }) => (error === undefined ? [] : [`${name}\n${error}`]))).toEqual([])
    expect(outcomes.length).toBeGreaterThan(rulesMin)
  })
}
