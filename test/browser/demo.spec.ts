/** The demo in a real Chromium, as a visitor meets it: shows 1 to 3 and 5 of the main job. */
import { type BrowserContext, chromium, expect, test } from '@playwright/test'
import { type DemoSite, DemoTab, harmonydb, leaderOf, sameLeader, startNodePeer, startSite } from './demo-kit.ts'

let site: DemoSite
let rooms = 0
/** Every test has a room of its own, and so stores of its own. */
const room = (): string => `${site.url}?room=room-${process.pid}-${rooms++}`

test.beforeAll(async () => {
  site = await startSite()
})
test.afterAll(() => site.stop())

async function openTabs(context: BrowserContext, address: string, count: number): Promise<DemoTab[]> {
  const tabs: DemoTab[] = []
  for (let i = 0; i < count; i++) tabs.push(await DemoTab.open(context, address))
  for (const tab of tabs) await tab.settled(count)
  return tabs
}

test('show 1: three tabs and a Node peer list four members and one leader, and read each other at once', async ({
  context,
}) => {
  const address = `${room()}&secret=${encodeURIComponent('a secret for this test only')}`
  const tabs = [await DemoTab.open(context, address)]
  const peer = await startNodePeer(site, address)
  try {
    for (let i = 1; i < 3; i++) tabs.push(await DemoTab.open(context, address))
    for (const tab of tabs) await tab.settled(4)
    await sameLeader(tabs)
    const [a, b, c] = tabs as [DemoTab, DemoTab, DemoTab]
    for (const tab of tabs) {
      await expect(tab.page.locator('[data-testid="member"][data-leader="true"]')).toHaveCount(1)
      await expect(tab.page.locator('[data-testid="member"][data-kind="node"]')).toHaveCount(1)
      expect(await tab.cluster()).toBe(await a.cluster())
    }
    await a.put('["stock", "lamp"]', '3')
    await a.expectResult('done', '3')
    for (const tab of [b, c]) {
      await expect(tab.row('["stock", "lamp"]')).toContainText('3')
      await tab.get('["stock", "lamp"]')
      await tab.expectResult('done', '3')
    }
    await b.put('["stock", "desk"]', '{"left": 12}')
    await b.expectResult('done', '{"left": 12}')
    await expect(a.row('["stock", "desk"]')).toContainText('{"left": 12}')
    const desk = ['["stock", "desk"]', '--dir', peer.dir]
    expect(await harmonydb('get', ...desk)).toMatchObject({ code: 0, out: expect.stringContaining('"left":12') })
    await harmonydb('put', '["from", "node"]', '"the command line"', '--dir', peer.dir)
    for (const tab of tabs) await expect(tab.row('["from", "node"]')).toContainText('the command line')
    await a.screenshot('demo-four-members.png')
    for (const tab of tabs) expect(tab.strangers).toEqual([])
  } finally {
    await peer.stop()
  }
})

test('show 2: the leader tab is killed, another leads within 2 s, no write is lost, and it comes back as itself', async ({
  context,
}) => {
  const tabs = await openTabs(context, room(), 3)
  const leader = await leaderOf(tabs)
  const others = tabs.filter(tab => tab !== leader)
  const dead = await leader.id()
  for (let i = 0; i < 5; i++) {
    await leader.put(`["kept", ${i}]`, String(i))
    await leader.expectResult('done', String(i))
  }
  await leader.click('kill')
  const killedAtMs = Date.now()
  await expect(leader.part('revive')).toBeVisible()
  await expect
    .poll(async () => (await Promise.all(others.map(tab => tab.isLeader()))).filter(Boolean).length, {
      timeout: 5_000,
      intervals: [20],
    })
    .toBe(1)
  expect(Date.now() - killedAtMs).toBeLessThan(2_000)
  for (const tab of others) {
    await tab.read('linearizable')
    for (let i = 0; i < 5; i++) {
      await tab.get(`["kept", ${i}]`)
      await tab.expectResult('done', String(i))
    }
  }
  await others[0]!.put('after', '"the kill"')
  await others[0]!.expectResult('done', '"the kill"')
  await leader.screenshot('demo-killed.png')

  await leader.click('revive')
  await leader.settled(3)
  expect(await leader.id()).toBe(dead)
  await leader.read('local')
  await leader.get('after')
  await leader.expectResult('done', '"the kill"')
})

test('show 2: a tab closed and opened again is the same peer with its data', async ({ context }) => {
  const address = room()
  const alone = await DemoTab.open(context, address)
  await expect(alone.part('health')).toHaveAttribute('data-health', /ok|solo/, { timeout: 20_000 })
  await alone.put('kept', '"over the reopening"')
  await alone.expectResult('done', '"over the reopening"', 15_000)
  const id = await alone.id()
  await alone.page.close({ runBeforeUnload: true })
  const again = await DemoTab.open(context, address)
  expect(await again.id()).toBe(id)
  await expect(again.row('["kept"]')).toContainText('over the reopening')
})

test('show 3: a tab that is cut off refuses with NO_QUORUM within 3 s, still reads locally, and catches up', async ({
  context,
}) => {
  const tabs = await openTabs(context, room(), 3)
  const leader = await leaderOf(tabs)
  const cut = tabs.find(tab => tab !== leader)!
  const rest = tabs.filter(tab => tab !== cut)
  await cut.put('before', '1')
  await cut.expectResult('done', '1')

  await cut.click('cut')
  const cutAtMs = Date.now()
  await cut.put('during', '"never"')
  await cut.expectResult('refused', 'NO_QUORUM')
  expect(Date.now() - cutAtMs).toBeLessThan(3_000)
  await cut.read('linearizable')
  await cut.get('before')
  await cut.expectResult('refused', 'NO_QUORUM')
  await cut.read('local')
  await cut.get('before')
  await cut.expectResult('done', '1')
  await expect(cut.part('banner')).toHaveAttribute('data-state', 'cut')
  await cut.screenshot('demo-cut.png')

  await rest[0]!.put('during', '"the others go on"')
  await rest[0]!.expectResult('done', '"the others go on"')
  await expect(cut.row('["during"]')).toHaveCount(0)

  await cut.click('heal')
  await cut.settled(3)
  await expect(cut.row('["during"]')).toContainText('the others go on')
  await cut.read('linearizable')
  await cut.get('during')
  await cut.expectResult('done', '"the others go on"')
})

test('show 3: a leader that is cut off steps down while the others elect another', async ({ context }) => {
  const tabs = await openTabs(context, room(), 3)
  const leader = await leaderOf(tabs)
  const rest = tabs.filter(tab => tab !== leader)
  await leader.click('cut')
  const next = await leaderOf(rest)
  await expect(leader.part('role')).not.toHaveAttribute('data-role', 'leader', { timeout: 5_000 })
  await next.put('new', '"leader"')
  await next.expectResult('done', '"leader"')
  await leader.click('cut')
  await leader.settled(3)
  await sameLeader(tabs)
  await expect(leader.row('["new"]')).toContainText('leader')
})

test('a tab leaves: the others go on without it; it keeps what it had, and joins again', async ({ context }) => {
  const tabs = await openTabs(context, room(), 2)
  const leaving = await leaderOf(tabs)
  const staying = tabs.find(tab => tab !== leaving)!
  await leaving.put('before', '1')
  await leaving.expectResult('done', '1')

  await leaving.click('leave')
  await expect(leaving.part('health')).toHaveAttribute('data-health', 'left')
  await expect(leaving.part('leave')).toBeDisabled()
  await expect(leaving.row('["before"]')).toBeVisible()
  await leaving.put('refused', '1')
  await leaving.expectResult('refused', 'NOT_MEMBER')
  await expect(staying.members()).toHaveCount(1)
  await staying.put('meanwhile', '2')
  await staying.expectResult('done', '2')

  await leaving.click('rejoin')
  await leaving.settled(2)
  await staying.settled(2)
  await expect(leaving.row('["meanwhile"]')).toContainText('2')
  await leaving.put('again', '3')
  await leaving.expectResult('done', '3')
  await expect(staying.row('["again"]')).toContainText('3')
})

test('show 3: ten tabs opened at the same moment found one cluster', async ({ context }) => {
  test.setTimeout(120_000)
  const address = room()
  const tabs = await Promise.all(Array.from({ length: 10 }, () => DemoTab.open(context, address)))
  await Promise.all(tabs.map(tab => tab.settled(10, 90_000)))
  const clusters = new Set(await Promise.all(tabs.map(tab => tab.cluster())))
  expect(clusters.size).toBe(1)
  await sameLeader(tabs)
  expect(new Set(await Promise.all(tabs.map(tab => tab.id()))).size).toBe(10)
  await tabs[3]!.put('ten', '10')
  await tabs[3]!.expectResult('done', '10')
  for (const tab of tabs) await expect(tab.row('["ten"]')).toContainText('10')
  await tabs[0]!.screenshot('demo-ten-tabs.png')
})

test('show 5: the data set loads, and every tab looks cities up', async ({ context }) => {
  test.setTimeout(150_000)
  const address = room()
  const [loader, other] = (await openTabs(context, address, 2)) as [DemoTab, DemoTab]
  const peer = await startNodePeer(site, address)
  await loader.part('load-size').selectOption('60000')
  const begunMs = Date.now()
  await loader.click('load')
  await expect(loader.part('load-progress')).toHaveAttribute('data-state', 'loading')
  await expect(loader.part('load-progress')).toHaveAttribute('data-state', 'complete', { timeout: 110_000 })
  // A figure and no assertion: other programs may have the machine.
  test.info().annotations.push({ type: 'load', description: `${Date.now() - begunMs} ms` })
  await expect(other.part('load-progress')).toHaveAttribute('data-loaded', '60000')
  for (const tab of [loader, other]) {
    await tab.part('city-search').fill('São Paulo')
    await expect(tab.part('city-result').first()).toContainText('Brazil')
    await tab.part('city-search').fill('pari')
    await expect(tab.part('city-result').first()).toContainText('Paris')
  }
  await other.part('filter').fill('["city", "par')
  await expect(other.part('filter')).toHaveAttribute('aria-invalid', 'true')
  await other.part('filter').fill('["city", "par"]')
  await other.click('page-next')
  await expect(other.part('page-number')).toHaveText('Page 2')
  await expect(other.part('data-row').first()).toHaveAttribute('data-key', /^\["city", "par/)
  await other.screenshot('demo-cities.png')
  const found = await harmonydb('get', '["city", "sao paulo", "BR", 3448439]', '--dir', peer.dir)
  await peer.stop()
  expect(found).toMatchObject({ code: 0, out: expect.stringContaining('São Paulo') })
})

test('show 5: a load that is paused goes on in another tab without duplicates', async ({ context }) => {
  test.setTimeout(240_000)
  const [first, second] = (await openTabs(context, room(), 2)) as [DemoTab, DemoTab]
  await first.part('load-size').selectOption('60000')
  await first.click('load')
  await expect
    .poll(async () => Number(await first.part('load-progress').getAttribute('data-loaded')), { intervals: [20] })
    .toBeGreaterThan(0)
  await first.click('load-cancel')
  await expect(first.part('load-cancel')).toBeHidden()
  // Less than the first one wanted: it is about going on, and the whole load has a test of its own.
  await second.part('load-size').selectOption('10000')
  await expect(second.part('load')).toHaveText('Go on loading')
  await second.click('load')
  await expect(second.part('load-progress')).toHaveAttribute('data-state', 'complete', { timeout: 180_000 })
  // The cities and the record of how many there are.
  await expect(second.part('key-count')).toContainText('10,001 keys')
  await expect(first.part('key-count')).toContainText('10,001 keys')
})

test('show 1: two browsers on one machine meet through signalling over WebSocket', async ({
  context,
  launchOptions,
}) => {
  const address = room()
  const elsewhere = await chromium.launch(launchOptions)
  try {
    const here = await DemoTab.open(context, address)
    await expect(here.members()).toHaveCount(1, { timeout: 15_000 })
    const there = await DemoTab.open(await elsewhere.newContext(), address)
    for (const tab of [here, there]) await tab.settled(2)
    await there.put('from', '"another browser"')
    await there.expectResult('done', '"another browser"')
    await expect(here.row('["from"]')).toContainText('another browser')
    expect(await here.cluster()).toBe(await there.cluster())
  } finally {
    await elsewhere.close()
  }
})

test('with no signalling server and no network, tabs of one origin still meet', async ({ context }) => {
  const bare = await startSite(false)
  try {
    const tabs = await openTabs(context, `${bare.url}?room=bare-${process.pid}`, 2)
    await tabs[0]!.put('offline', 'true')
    await tabs[0]!.expectResult('done', 'true')
    await expect(tabs[1]!.row('["offline"]')).toContainText('true')
    for (const tab of tabs) expect(tab.strangers).toEqual([])
  } finally {
    await bare.stop()
  }
})

test('the form refuses what is no key, works from the keyboard, and deletes', async ({ context }) => {
  const tab = await DemoTab.open(context, room())
  await expect(tab.part('put-button')).toBeEnabled({ timeout: 15_000 })
  await tab.part('put-value').fill('1')
  await tab.part('put-value').press('Enter')
  await tab.expectResult('refused', '')
  await expect(tab.part('put-key')).toBeFocused()
  await tab.page.keyboard.type('[null]')
  await tab.page.keyboard.press('Enter')
  await expect(tab.part('result')).toContainText('strings, numbers and booleans')
  await tab.part('put-key').fill('["<b>", 1]')
  await tab.page.keyboard.press('Enter')
  await tab.expectResult('done', '1', 15_000)
  const row = tab.row('["<b>", 1]')
  await expect(row).toHaveCount(1)
  await row.getByRole('button', { name: /^Edit/ }).click()
  await expect(tab.part('put-key')).toHaveValue('["<b>", 1]')
  await tab.click('delete-button')
  await expect(row).toHaveCount(0)
  await tab.get('["<b>", 1]')
  await tab.expectResult('absent', 'no such key')
})

test('the bank: transfers from two tabs at once neither make nor lose money, and write skew happens at snapshot only', async ({
  context,
}) => {
  const [a, b] = (await openTabs(context, room(), 2)) as [DemoTab, DemoTab]
  await a.click('bank-open')
  for (const tab of [a, b]) await expect(tab.part('bank-total')).toHaveAttribute('data-state', 'right')
  await b.part('bank-locking').selectOption('pessimistic')
  for (const tab of [a, b]) await tab.click('bank-run')
  for (const tab of [a, b]) await expect(tab.part('bank-note')).toContainText(/^This tab: [1-9][\d,]* transfers/)
  for (let look = 0; look < 20; look++) {
    for (const tab of [a, b])
      await expect(tab.part('bank-total')).toHaveAttribute('data-state', 'right', { timeout: 1 })
    await a.page.waitForTimeout(100)
  }
  for (const tab of [a, b]) await tab.click('bank-run')
  for (const tab of [a, b]) await expect(tab.part('bank-total')).toHaveText('800 in all, as at the beginning.')

  await a.click('skew-run')
  await expect(a.part('skew-result')).toHaveAttribute('data-state', 'kept')
  await expect(a.part('skew-result')).toContainText('one was granted')
  await a.part('bank-isolation').selectOption('snapshot')
  await a.click('skew-run')
  await expect(a.part('skew-result')).toHaveAttribute('data-state', 'broken')
  await expect(a.part('skew-result')).toContainText('-100')
  await a.screenshot('demo-bank.png')
})

test('a deadlock of two tabs is resolved: one gives way, says with whom, and both get what they want', async ({
  context,
}) => {
  const [a, b] = (await openTabs(context, room(), 2)) as [DemoTab, DemoTab]
  await a.click('lock-lamp-first')
  await expect(a.part('lock-steps')).toContainText('has the lamp')
  // The other tab is told which one to press.
  await expect(b.part('lock-chair-first')).toHaveAttribute('data-called', 'true')
  await b.click('lock-chair-first')
  for (const tab of [a, b])
    await expect(tab.part('lock-steps').locator('[data-kind="done"]')).toHaveCount(1, { timeout: 20_000 })
  const lost = async (tab: DemoTab) => tab.part('lock-steps').locator('[data-kind="lost"]').allTextContents()
  const [ofA, ofB] = [await lost(a), await lost(b)]
  expect([ofA.length, ofB.length].sort()).toEqual([0, 1])
  const [text] = [...ofA, ...ofB]
  for (const tab of [a, b]) expect(text).toContain((await tab.id()).slice(0, 8))
  await b.screenshot('demo-deadlock.png')
})
