/**
 * One page of the data, always current: it is read again (with `local` consistency, so also while cut off) whenever the
 * replica has applied something. Turning the page goes on from the scan's cursor, so nothing is skipped or seen twice; a
 * page then stays anchored at its first key, so that writes elsewhere do not push the reader away.
 */
import type { Entry, KeyPart, Range } from '../src/database/types.ts'
import { makeRow, type RowActions, restoreFocus, rowWithFocus } from './data-row.ts'
import { button, input, part, setText } from './dom.ts'
import { formatCount, formatKey, formatMs, parseFilter } from './format.ts'
import { settled } from './pace.ts'
import type { PageContext } from './page-context.ts'
import { errorText } from './session.ts'

export interface DataTable {
  /** Reads the page again; meant to be called through a throttle. */
  refresh(): Promise<void>
  updateKeyCount(keys: number): void
}

type Tuple = readonly KeyPart[]

const rowsPerPage = 10

export function createDataTable(page: PageContext, actions: RowActions): DataTable {
  const body = part('data-rows', HTMLTableSectionElement)
  const empty = part('data-empty', HTMLElement)
  const note = part('table-note', HTMLElement)
  const keyCount = part('key-count', HTMLElement)
  const pageNumber = part('page-number', HTMLElement)
  const filterBox = input('filter')
  const first = button('page-first')
  const previous = button('page-previous')
  const next = button('page-next')

  /** Where each page up to this one begins; undefined stands for the beginning of the range. */
  let anchors: (Tuple | undefined)[] = [undefined]
  let shown: readonly Entry[] = []
  let cursor = ''
  let reading = 0

  const filtered = (): Range | undefined => {
    const filter = parseFilter(filterBox.value)
    filterBox.setAttribute('aria-invalid', String(!filter.ok))
    return filter.ok ? filter.value : undefined
  }

  /** Undefined if it failed or if a later reading overtook it. */
  const read = async (range: Range | undefined, from: string | undefined): Promise<readonly Entry[] | undefined> => {
    const session = page.session()
    if (session?.alive !== true) return undefined
    const mine = ++reading
    try {
      const { value: found, ms } = await session.run(async db => {
        const cursorOption = from === undefined ? {} : { cursor: from }
        const scan = db.scan(range, { consistency: 'local', limit: rowsPerPage, ...cursorOption })
        return { entries: await scan.toArray(), cursor: scan.cursor }
      })
      if (mine !== reading) return undefined
      cursor = found.entries.length < rowsPerPage ? '' : found.cursor
      setText(note, `read locally in ${formatMs(ms)}`)
      return found.entries
    } catch (error) {
      if (mine === reading) setText(note, errorText(error))
      return undefined
    }
  }

  const show = (entries: readonly Entry[]): void => {
    const versions = new Map(shown.map(entry => [formatKey(entry.key), entry.version]))
    const focused = rowWithFocus(body)
    body.replaceChildren(
      ...entries.map(entry => {
        const before = versions.get(formatKey(entry.key))
        return makeRow(entry, before !== undefined && before !== entry.version, actions)
      }),
    )
    restoreFocus(body, focused)
    shown = entries
    empty.hidden = entries.length > 0
    const unfiltered = filterBox.value.trim() === '' && anchors.length === 1
    setText(empty, unfiltered ? 'Nothing here yet. Put a key, or load the cities.' : 'No key begins like this.')
  }
  const showPager = (): void => {
    first.disabled = anchors.length === 1
    previous.disabled = anchors.length === 1
    next.disabled = cursor === ''
    setText(pageNumber, `Page ${formatCount(anchors.length)}`)
  }
  const refresh = async (): Promise<void> => {
    const anchor = anchors.at(-1)
    const entries = await read(anchor === undefined ? filtered() : { ...filtered(), start: anchor }, undefined)
    if (entries !== undefined) show(entries)
    showPager()
  }
  const restart = (): void => {
    anchors = [undefined]
    void refresh()
  }
  const turnPage = async (): Promise<void> => {
    const last = shown.at(-1)
    if (cursor === '' || last === undefined) return
    // The cursor belongs to the range that was scanned, so that is given again.
    const anchor = anchors.at(-1)
    const range = anchor === undefined ? filtered() : { ...filtered(), start: anchor }
    const entries = await read(range, cursor)
    if (entries === undefined) {
      // Overtaken, or the cursor's version is gone: go on behind the last key that was shown.
      anchors.push(successor(last.key))
      return refresh()
    }
    if (entries.length > 0) {
      anchors.push(entries[0]!.key)
      show(entries)
    }
    showPager()
  }

  first.addEventListener('click', restart)
  previous.addEventListener('click', () => {
    if (anchors.length > 1) anchors.pop()
    void refresh()
  })
  next.addEventListener('click', () => void turnPage())
  const restartSoon = settled(120, restart)
  filterBox.addEventListener('input', () => {
    // What is shown, or still being read, belongs to the filter before: there is no next page of it.
    reading++
    cursor = ''
    showPager()
    restartSoon()
  })
  showPager()

  return {
    refresh,
    updateKeyCount(keys) {
      setText(keyCount, `${keys === 1 ? '1 key' : `${formatCount(keys)} keys`} in this replica, `)
    },
  }
}

/** The first tuple behind this one: bytes sort before everything else, and none before the empty bytes. */
const successor = (key: Tuple): Tuple => [...key, new Uint8Array(0)]
