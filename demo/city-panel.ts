/** Loading the data set, with progress that every tab shows, and looking a city up while typing. */
import { type LoadProgress, loadCities, loadedCities } from './city-loader.ts'
import { type CityFile, readCityFile } from './city-records.ts'
import { createCitySearch } from './city-search.ts'
import { button, el, part, setData, setText } from './dom.ts'
import { formatCount } from './format.ts'
import type { PageContext } from './page-context.ts'
import { errorText } from './session.ts'

export interface CityPanel {
  enable(on: boolean): void
  /** Shows how much is there, whoever loaded it. */
  refresh(): Promise<void>
}

/** `cities.pbf` has 135,233 records. */
const sizes: readonly { count: number; label: string }[] = [
  { count: 10_000, label: '10,000' },
  { count: 60_000, label: '60,000' },
  { count: 135_233, label: 'all 135,233' },
]
const sizeChosen = 60_000

export function createCityPanel(page: PageContext, dataUrl: string): CityPanel {
  const size = part('load-size', HTMLSelectElement)
  const load = button('load')
  const cancel = button('load-cancel')
  const bar = part('load-bar', HTMLProgressElement)
  const line = part('load-progress', HTMLElement)
  const search = createCitySearch(page)
  let running: AbortController | undefined
  let file: Promise<CityFile> | undefined
  let loaded = 0
  let finished = ''

  for (const { count, label } of sizes)
    size.append(el('option', { value: count, selected: count === sizeChosen }, label))

  const goal = (): number => Number(size.value)
  const show = (text: string, state: string): void => {
    setText(line, text)
    setData(line, 'state', state)
    setData(line, 'loaded', String(loaded))
    bar.max = goal()
    bar.value = Math.min(loaded, goal())
  }
  const showIdle = (): void => {
    const complete = loaded >= goal()
    load.disabled = running !== undefined || complete || page.session()?.alive !== true
    setText(load, loaded === 0 ? 'Load data set' : complete ? 'Loaded' : 'Go on loading')
    search.enable(page.session()?.alive === true)
    if (running !== undefined) return
    if (loaded === 0) show(finished || 'Not loaded yet.', finished === '' ? 'idle' : 'stopped')
    else show(`${formatCount(loaded)} cities in the database. ${finished}`.trim(), complete ? 'complete' : 'partial')
  }
  const showProgress = (progress: LoadProgress): void => {
    loaded = progress.loaded
    const pace = progress.waiting === '' ? `${formatCount(Math.round(progress.perSecond))} a second` : progress.waiting
    show(`${formatCount(progress.loaded)} of ${formatCount(progress.goal)}, ${pace}`, 'loading')
    const part = `loading cities: ${formatCount(progress.loaded)} of ${formatCount(progress.goal)}`
    page.log.replace('load', 'write', part)
  }
  const cityFile = (): Promise<CityFile> => {
    file ??= fetchCities(dataUrl).catch((error: unknown) => {
      file = undefined
      throw error
    })
    return file
  }
  const run = async (stop: AbortController): Promise<void> => {
    const session = page.session()
    if (session === undefined) return
    const begunMs = performance.now()
    const before = loaded
    show('Fetching the data set from this page’s own origin …', 'loading')
    const outcome = await loadCities(session, await cityFile(), goal(), stop.signal, showProgress)
    const seconds = (performance.now() - begunMs) / 1_000
    const added = formatCount(loaded - before)
    finished = outcome === 'complete' ? `This tab loaded ${added} in ${seconds.toFixed(1)} s.` : 'Paused.'
    page.log.add(
      'write',
      outcome === 'complete'
        ? `loaded ${added} cities in ${seconds.toFixed(1)} s`
        : `paused loading at ${formatCount(loaded)}`,
    )
  }

  load.addEventListener('click', () => {
    const stop = new AbortController()
    running = stop
    finished = ''
    load.disabled = true
    size.disabled = true
    cancel.hidden = false
    cancel.focus()
    run(stop)
      .catch((error: unknown) => {
        finished = `Stopped: ${errorText(error)}`
        page.log.add('error', `loading cities: ${errorText(error)}`)
      })
      .finally(() => {
        running = undefined
        cancel.hidden = true
        size.disabled = false
        showIdle()
      })
  })
  cancel.addEventListener('click', () => running?.abort())
  size.addEventListener('change', showIdle)

  return {
    enable: showIdle,
    async refresh() {
      const session = page.session()
      if (session?.alive !== true || running !== undefined) return
      try {
        const { value } = await session.run(db => loadedCities(db, 'local'))
        if (running !== undefined) return
        if (value > loaded && loaded > 0) finished = ''
        loaded = value
      } catch {
        // The next refresh asks again; a failing read shows in the table.
      }
      showIdle()
    },
  }
}

async function fetchCities(url: string): Promise<CityFile> {
  const answer = await fetch(url)
  if (!answer.ok) throw new Error(`the data set could not be fetched (${answer.status})`)
  return readCityFile(new Uint8Array(await answer.arrayBuffer()))
}
