/** The bank: balances as every tab sees them, transfers from this one, and the two experiments beside them. */
import type { DeadlockPolicy, Isolation } from '../src/database/types.ts'
import {
  type Balance,
  lockBoth,
  openBank,
  openingTotal,
  type Rules,
  readBalances,
  readCall,
  type Side,
  transferAtRandom,
  withdrawTwice,
} from './bank.ts'
import { button, el, part, setData, setText } from './dom.ts'
import { formatCount, shortId } from './format.ts'
import { pause, RateMeter } from './pace.ts'
import type { PageContext } from './page-context.ts'
import { DeadPeer, errorText } from './session.ts'

export interface BankPanel {
  enable(on: boolean): void
  /** Shows the balances, whoever changed them. */
  refresh(): Promise<void>
}

const transfersAtOnce = 6
const lookMs = 120
const holdMs = 2_500
const stepsMax = 12

export function createBankPanel(page: PageContext): BankPanel {
  const list = part('bank-accounts', HTMLUListElement)
  const total = part('bank-total', HTMLElement)
  const note = part('bank-note', HTMLElement)
  const open = button('bank-open')
  const run = button('bank-run')
  const isolation = part('bank-isolation', HTMLSelectElement)
  const locking = part('bank-locking', HTMLSelectElement)
  const policy = part('bank-policy', HTMLSelectElement)
  const skew = button('skew-run')
  const skewResult = part('skew-result', HTMLElement)
  const steps = part('lock-steps', HTMLOListElement)
  const sides: readonly { readonly side: Side; readonly button: HTMLButtonElement }[] = [
    { side: 'lamp first', button: button('lock-lamp-first') },
    { side: 'chair first', button: button('lock-chair-first') },
  ]
  const callNote = part('lock-call', HTMLElement)

  let enabled = false
  let balances: readonly Balance[] = []
  let running: AbortController | undefined
  let skewing = false
  const lockingSides = new Set<Side>()

  const rules = (): Rules => ({
    isolation: isolation.value as Isolation,
    locking: locking.value as 'optimistic' | 'pessimistic',
    deadlocks: policy.value as DeadlockPolicy,
  })
  const sum = (): number => balances.reduce((all, { balance }) => all + balance, 0)

  const show = (): void => {
    const isOpen = balances.length > 0
    open.disabled = !enabled || running !== undefined
    setText(open, isOpen ? 'Start over' : 'Open the bank')
    run.disabled = !enabled || !isOpen
    run.setAttribute('aria-checked', String(running !== undefined))
    skew.disabled = !enabled || skewing
    for (const each of sides) each.button.disabled = !enabled || lockingSides.has(each.side)
    const most = Math.max(1, ...balances.map(({ balance }) => balance))
    list.replaceChildren(
      ...balances.map(({ owner, balance }) =>
        el(
          'li',
          {},
          el('span', {}, owner),
          el('meter', { max: most, value: Math.max(0, balance), 'aria-label': owner }),
          el('span', { class: 'mono' }, formatCount(balance)),
        ),
      ),
    )
    const off = sum() - openingTotal
    setData(total, 'state', !isOpen ? 'none' : off === 0 ? 'right' : 'wrong')
    if (!isOpen) setText(total, 'No accounts yet.')
    else if (off === 0) setText(total, `${formatCount(sum())} in all, as at the beginning.`)
    else
      setText(
        total,
        `${formatCount(sum())} in all: ${formatCount(Math.abs(off))} ${off > 0 ? 'out of nowhere' : 'lost'}. Somebody overwrote what they had not read.`,
      )
  }

  const perform = async (what: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work()
    } catch (error) {
      if (!(error instanceof DeadPeer)) page.log.add('error', `${what}: ${errorText(error)}`)
    }
  }

  const runTransfers = async (stop: AbortController): Promise<void> => {
    const session = page.session()
    if (session === undefined) return
    const meter = new RateMeter()
    let done = 0
    let refused = 0
    let again = 0
    const one = async (): Promise<void> => {
      while (!stop.signal.aborted) {
        try {
          const { value } = await session.run(db => transferAtRandom(db, rules(), stop.signal))
          done++
          again += value.attempts - 1
          if (!value.moved) refused++
        } catch (error) {
          if (stop.signal.aborted || error instanceof DeadPeer) return
          setText(note, errorText(error))
          await pause(500)
        }
        const rate = Math.round(meter.add(done, performance.now()))
        setText(
          note,
          `This tab: ${formatCount(done)} transfers, ${formatCount(rate)} a second; ${formatCount(refused)} refused for want of money, ${formatCount(again)} run again.`,
        )
      }
    }
    await Promise.all(Array.from({ length: transfersAtOnce }, one))
    page.log.add('write', `made ${formatCount(done)} transfers, ${formatCount(again)} run again`)
  }

  const stopTransfers = (): void => {
    running?.abort()
    running = undefined
  }

  open.addEventListener('click', () => {
    const anew = balances.length > 0
    void perform('bank', async () => {
      await page.session()?.run(db => openBank(db, anew))
      await refresh()
    })
  })
  run.addEventListener('click', () => {
    if (running !== undefined) stopTransfers()
    else {
      const stop = new AbortController()
      running = stop
      void perform('transfers', () => runTransfers(stop))
    }
    show()
  })
  skew.addEventListener('click', () => {
    const level = isolation.value as Isolation
    skewing = true
    show()
    setData(skewResult, 'state', 'running')
    setText(skewResult, `Two withdrawals at once, ${level} …`)
    void perform('withdrawals', async () => {
      const done = await page.session()?.run(db => withdrawTwice(db, level, lookMs))
      if (done === undefined) return
      const { granted, together } = done.value
      const broken = together < 0
      setData(skewResult, 'state', broken ? 'broken' : 'kept')
      setText(
        skewResult,
        broken
          ? `${level}: both were granted, and together there are ${formatCount(together)}. Each looked at both parts before the other wrote: write skew.`
          : `${level}: ${granted === 1 ? 'one was granted, the other was run again, and refused' : 'none was granted'}. Together there are ${formatCount(together)}.`,
      )
    }).finally(() => {
      skewing = false
      show()
    })
  })
  for (const { side, button: pressed } of sides) {
    pressed.addEventListener('click', () => {
      lockingSides.add(side)
      show()
      void perform('locks', async () => {
        await page.session()?.run(db =>
          lockBoth(db, side, policy.value as DeadlockPolicy, holdMs, (kind, text) => {
            steps.prepend(el('li', { 'data-kind': kind }, el('strong', {}, side), ` ${text}`))
            while (steps.childElementCount > stepsMax) steps.lastElementChild?.remove()
          }),
        )
      }).finally(() => {
        lockingSides.delete(side)
        show()
      })
    })
  }

  const refresh = async (): Promise<void> => {
    const session = page.session()
    if (session?.alive !== true) return
    try {
      const { value } = await session.run(async db => ({ balances: await readBalances(db), call: await readCall(db) }))
      balances = value.balances
      const { call } = value
      const self = session.db.cluster.status().self
      const other = call !== undefined && call.tab !== self ? call : undefined
      setText(
        callNote,
        other === undefined
          ? 'Press one here and the other one in another tab, within two seconds (or both here).'
          : `Tab ${shortId(other.tab)} locks the ${other.side}. Press the other one here.`,
      )
      for (const each of sides) setData(each.button, 'called', String(other !== undefined && other.side !== each.side))
    } catch {
      // The next refresh asks again; a failing read shows in the table.
    }
    show()
  }

  return {
    enable(on) {
      enabled = on
      if (!on) stopTransfers()
      show()
    },
    refresh,
  }
}
