/**
 * Tabs of one browser that are killed while they are voters, in a real Chromium: who is left runs their replicas (pitfall 31), and gives them back. There is no
 * peer anywhere else. The rules A1 to A8 are those of `src/cluster/adoption.ts`; its stories in virtual time are in `test/simulation/adoption.test.ts`.
 */
import { type BrowserContext, expect, type Page, test } from '@playwright/test'
import type { ClusterStatus, DatabaseEvent, Member } from '../../src/database/types.ts'
import { call, pageUrl, serveTabs, tab } from './open-tabs.ts'
import { callsTo } from './page-calls.ts'

serveTabs()

/** Crashes the tab's renderer: nothing of it runs any more, nothing was handed over. */
async function kill(context: BrowserContext, page: Page): Promise<void> {
  const crashed = new Promise<void>(resolve => page.once('crash', () => resolve()))
  const tools = await context.newCDPSession(page)
  // It does not answer any more.
  tools.send('Page.crash').catch(() => {})
  await crashed
  await page.close()
}

interface Peer {
  readonly page: Page
  readonly id: string
}

async function member(context: BrowserContext, storage: 'auto' | 'indexeddb'): Promise<Peer> {
  const page = await tab(context)
  const id = (await call(page, 'start', { name: 'shop', storage })) as string
  await call(page, 'join', 'room', false)
  return { page, id }
}

const status = (page: Page) => call(page, 'status') as Promise<ClusterStatus>
const adopted = (page: Page) => call(page, 'adopted') as Promise<string[]>
const told = (page: Page) => call(page, 'told') as Promise<DatabaseEvent[]>
const voters = async (page: Page) =>
  ((await call(page, 'members')) as Member[]).flatMap(({ id, role }) => (role === 'voter' ? [id] : [])).sort()
/** All at once. */
const members = (context: BrowserContext, count: number, storage: 'auto' | 'indexeddb' = 'auto') =>
  Promise.all(Array.from({ length: count }, () => member(context, storage)))
const health = (page: Page, is: string) =>
  expect.poll(async () => (await status(page)).health, { timeout: 30_000 }).toBe(is)

for (const storage of ['auto', 'indexeddb'] as const) {
  test(`pitfall 31: ${storage}: two of three voters are killed at once; who is left adopts them and writes on; their tabs get them back`, async ({
    context,
  }) => {
    test.setTimeout(120_000)
    const [a, b, c] = (await members(context, 3, storage)) as [Peer, Peer, Peer]
    const ids = [a.id, b.id, c.id].sort()
    await expect.poll(() => voters(c.page)).toEqual(ids)
    for (const [i, { page }] of [a, b, c].entries()) await call(page, 'put', `before ${i}`, i)
    await Promise.all([kill(context, a.page), kill(context, b.page)])
    await health(c.page, 'no-quorum')
    await health(c.page, 'ok')
    await call(c.page, 'put', 'alone', 1)
    for (let i = 0; i < 3; i++) expect(await call(c.page, 'get', `before ${i}`)).toBe(i)
    await expect.poll(() => adopted(c.page), { timeout: 30_000 }).toEqual([a.id, b.id].sort())
    expect((await told(c.page)).filter(({ type }) => type === 'adopted')).toHaveLength(2)

    // Opened again: a new tab, which remembers nothing, finds what was left.
    const again = await member(context, storage)
    expect([a.id, b.id]).toContain(again.id)
    expect(await call(again.page, 'get', 'alone')).toBe(1)
    await call(again.page, 'put', 'back', 2)
    expect(await adopted(c.page)).toEqual([a.id, b.id].filter(id => id !== again.id))
    // And a reloaded one gets its own.
    await again.page.reload()
    expect(await call(again.page, 'start', { name: 'shop', storage })).toBe(again.id)
    await call(again.page, 'join', 'room', false)
    expect(await call(again.page, 'get', 'back')).toBe(2)
    const third = await member(context, storage)
    expect([a.id, b.id].filter(id => id !== again.id)).toEqual([third.id])
    expect(await adopted(c.page)).toEqual([])
    await expect.poll(() => voters(c.page)).toEqual(ids)
    expect((await told(c.page)).filter(({ type }) => type === 'returned')).toHaveLength(2)
  })
}

test('A5: two tabs that are opened at once each get one of what was adopted, and neither waits for what the other got', async ({
  page,
}) => {
  await page.goto(pageUrl())
  const { slots, ms } = (await callsTo<typeof import('./conformance-page.ts')>('./conformance-page.ts')(
    page,
    'claimTwoAtOnce',
  )) as { slots: number[]; ms: number }
  expect(slots).toEqual([0, 1])
  // Who waits for a slot that another one has got waits for ten seconds.
  expect(ms).toBeLessThan(9000)
})

test('pitfall 31: five tabs are killed one after the other, down to one, and nothing acknowledged is lost; then all are, and one is opened', async ({
  context,
}) => {
  test.setTimeout(180_000)
  const peers = await members(context, 5)
  await expect.poll(async () => (await voters(peers[0]!.page)).length, { timeout: 30_000 }).toBe(5)
  let written = 0
  while (peers.length > 1) {
    const [victim] = peers.splice(written % peers.length, 1)
    const left = peers[written % peers.length]!
    await call(left.page, 'put', `key ${written}`, written)
    written++
    await kill(context, victim!.page)
    await expect
      .poll(
        async () => {
          await call(left.page, 'put', 'probe', written).catch(() => {})
          return call(left.page, 'get', 'probe').catch(() => undefined)
        },
        { timeout: 40_000 },
      )
      .toBe(written)
  }
  const [last] = peers as [Peer]
  for (let n = 0; n < written; n++) expect(await call(last.page, 'get', `key ${n}`)).toBe(n)
  await kill(context, last.page)
  const reopened = await member(context, 'auto')
  for (let n = 0; n < written; n++) expect(await call(reopened.page, 'get', `key ${n}`)).toBe(n)
  await call(reopened.page, 'put', 'after', 1)
  expect(await call(reopened.page, 'get', 'after')).toBe(1)
})

test('A2: a tab that is reloaded is not adopted meanwhile', async ({ context }) => {
  const [a, b, c] = (await members(context, 3)) as [Peer, Peer, Peer]
  for (let i = 0; i < 3; i++) {
    await a.page.reload()
    expect(await call(a.page, 'start', { name: 'shop', storage: 'auto' })).toBe(a.id)
    await call(a.page, 'join', 'room', false)
  }
  for (const { page } of [b, c]) {
    expect((await told(page)).filter(({ type }) => type === 'adopted' || type === 'returned')).toEqual([])
  }
})

test('adopt: false leaves replicas where they are', async ({ context }) => {
  const pages = await Promise.all([tab(context), tab(context), tab(context)])
  for (const page of pages) await call(page, 'start', { name: 'shop', storage: 'auto', adopt: false })
  await Promise.all(pages.map(page => call(page, 'join', 'room', false)))
  const [a, b, c] = pages as [Page, Page, Page]
  await expect.poll(async () => (await voters(c)).length).toBe(3)
  await Promise.all([kill(context, a), kill(context, b)])
  await health(c, 'no-quorum')
  await new Promise(resolve => setTimeout(resolve, 6000))
  expect((await status(c)).health).toBe('no-quorum')
  expect(await adopted(c)).toEqual([])
})

test('A8: a lock that is stolen stops the database', async ({ context }) => {
  const page = await tab(context)
  await call(page, 'start', { name: 'shop', storage: 'auto' })
  await call(page, 'put', 'lamp', 3)
  const outcomes = (await call(page, 'stealLock', 'harmonydb/shop/0')) as string[]
  expect(outcomes.slice(-2)).toEqual(['STORAGE_LOST', 'STORAGE_LOST'])
  expect((await told(page)).filter(({ type }) => type === 'error')).toHaveLength(1)
  await call(page, 'close')
})
