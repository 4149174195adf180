/** Killed workers and killed tabs, again and again, with checkpoints under way: nothing acknowledged is lost, no batch is there by halves. */
import { type BrowserContext, expect, type Page, test } from '@playwright/test'
import { seededRandom } from '../../src/base/random.ts'
import type { Life, Lived } from './crash-page.ts'
import { type PageServer, startPageServer } from './page-server.ts'

let server: PageServer

test.beforeAll(async () => {
  server = await startPageServer()
})
test.afterAll(() => server.stop())

async function tab(context: BrowserContext): Promise<Page> {
  const page = await context.newPage()
  await page.goto(server.url)
  return page
}

const live = (page: Page, life: Life): Promise<Lived> =>
  page.evaluate(async given => {
    const here = (await import('./crash-page.ts')) as typeof import('./crash-page.ts')
    return here.live(given)
  }, life)

for (const storage of ['indexeddb', 'opfs'] as const) {
  test(`pitfall 22: ${storage}: killed workers in a loop lose nothing acknowledged`, async ({ context }) => {
    test.setTimeout(60_000)
    const [seed, count] = [1, 150]
    const random = seededRandom(`killed workers ${storage}`)
    const page = await tab(context)
    let life: Lived = { found: 0, acknowledged: 0, submitted: 0, checkpoints: 0 }
    let kills = 0
    while (life.acknowledged < count) {
      const { acknowledged, submitted } = life
      life = await live(page, { storage, seed, count, acknowledged, submitted, killAfter: random.between(1, 50) })
      kills++
    }
    expect(kills).toBeGreaterThan(3)
    expect(life.checkpoints).toBeGreaterThan(1)
  })

  test(`pitfall 22: ${storage}: killed tabs in a loop lose nothing acknowledged`, async ({ context }) => {
    test.setTimeout(60_000)
    const [seed, count] = [2, 100]
    const random = seededRandom(`killed tabs ${storage}`)
    let life: Lived = { found: 0, acknowledged: 0, submitted: 0, checkpoints: 0 }
    for (let kills = 0; kills < 2; kills++) {
      const page = await tab(context)
      const { acknowledged, submitted } = life
      const until = acknowledged + random.between(5, 40)
      let kill: () => void = () => {}
      const reached = new Promise<void>(resolve => {
        kill = resolve
      })
      await page.exposeFunction('progress', (lived: Lived) => {
        life = lived
        if (lived.acknowledged >= until) kill()
      })
      const crashed = new Promise<void>(resolve => page.once('crash', () => resolve()))
      const living = live(page, { storage, seed, count, acknowledged, submitted, killAfter: undefined })
      await Promise.race([reached, living])
      const tools = await context.newCDPSession(page)
      // It does not answer any more.
      tools.send('Page.crash').catch(() => {})
      await crashed
      await living.catch(() => {})
      await page.close()
    }
    const { acknowledged, submitted } = life
    expect(acknowledged).toBeGreaterThan(9)
    const page = await tab(context)
    const last = await live(page, { storage, seed, count, acknowledged, submitted, killAfter: undefined })
    expect(last.found).toBeGreaterThanOrEqual(acknowledged)
    expect(last.acknowledged).toBe(count)
  })
}
