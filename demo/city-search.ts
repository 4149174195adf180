/** Looks cities up while typing: one range read over the keys for each keystroke, with the chosen consistency. */
import type { Consistency, Entry } from '../src/database/types.ts'
import { cityTable, type StoredCity } from './city-loader.ts'
import { searchable } from './city-records.ts'
import { el, input, part, setText } from './dom.ts'
import { formatCount, formatMs, rangeBeginningWith } from './format.ts'
import type { PageContext } from './page-context.ts'
import { errorText } from './session.ts'

export interface CitySearch {
  enable(on: boolean): void
}

const readMax = 200
const shownMax = 6
const countries = new Intl.DisplayNames(['en'], { type: 'region' })

export function createCitySearch(page: PageContext): CitySearch {
  const box = input('city-search')
  const note = part('city-note', HTMLElement)
  const list = part('city-results', HTMLUListElement)
  const call = part('city-call', HTMLPreElement)
  const hint = note.textContent ?? ''
  let latest = 0

  const look = async (): Promise<void> => {
    const mine = ++latest
    const typed = searchable(box.value)
    setText(call, callText(typed, page.consistency()))
    const session = page.session()
    if (typed === '' || session === undefined) {
      list.replaceChildren()
      setText(note, hint)
      return
    }
    const consistency = page.consistency()
    try {
      const { value: entries, ms } = await session.run(db =>
        db.scan<StoredCity>(rangeBeginningWith([cityTable, typed]), { consistency, limit: readMax }).toArray(),
      )
      if (mine !== latest) return
      const best = rank(entries, typed).slice(0, shownMax)
      list.replaceChildren(...best.map(showCity))
      const many = entries.length === readMax ? `the first ${readMax}` : formatCount(entries.length)
      setText(note, `${entries.length === 0 ? 'None found' : `${many} found`}, ${consistency}, ${formatMs(ms)}`)
    } catch (error) {
      if (mine !== latest) return
      list.replaceChildren()
      setText(note, errorText(error))
    }
  }
  box.addEventListener('input', () => void look())
  part('consistency', HTMLFieldSetElement).addEventListener('change', () => void look())
  setText(call, callText('', page.consistency()))

  return {
    enable(on) {
      box.disabled = !on
    },
  }
}

/** The call as a developer would write it. */
function callText(typed: string, consistency: Consistency): string {
  const from = JSON.stringify(typed === '' ? 'par' : typed)
  return `db.scan({\n  start: ['${cityTable}', ${from}],\n  end: ['${cityTable}', ${from.slice(0, -1)}\\u{10FFFF}"]\n}, {\n  consistency: '${consistency}',\n  limit: ${readMax}\n})`
}

/** The exact name first, then the larger city. */
function rank(entries: readonly Entry<StoredCity>[], typed: string): Entry<StoredCity>[] {
  const exact = (entry: Entry<StoredCity>): number => (entry.key[1] === typed ? 1 : 0)
  return [...entries].sort((a, b) => exact(b) - exact(a) || b.value.population - a.value.population)
}

function showCity(entry: Entry<StoredCity>): HTMLLIElement {
  const { name, country, region, population, at } = entry.value
  const people = population > 0 ? `${formatCount(population)} people` : 'population unknown'
  const where = `${Math.abs(at[0]).toFixed(2)}° ${at[0] < 0 ? 'S' : 'N'}, ${Math.abs(at[1]).toFixed(2)}° ${at[1] < 0 ? 'W' : 'E'}`
  return el(
    'li',
    { 'data-testid': 'city-result', 'data-country': country },
    el('span', { class: 'city-name' }, name),
    el('span', { class: 'city-place' }, regionName(country, region)),
    el('span', { class: 'city-facts' }, `${people}, ${where}`),
  )
}

function regionName(country: string, region: string): string {
  let name = country
  try {
    name = countries.of(country) ?? country
  } catch {
    // Not a region code: shown as it stands.
  }
  return /^[A-Z]{2,3}$/.test(region) ? `${region}, ${name}` : name
}
