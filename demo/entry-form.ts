/** Put, get and delete of one key, each with its latency and with the typed error where it was refused. */

import type { KeyPart } from '../src/database/types.ts'
import { button, el, input, part, setData } from './dom.ts'
import { editableKey, editableValue, formatKey, formatMs, formatValue, kindOf, parseKey, parseValue } from './format.ts'
import type { PageContext } from './page-context.ts'
import { errorCode, errorText } from './session.ts'

export interface EntryForm {
  enable(on: boolean): void
  fill(key: readonly KeyPart[], value: unknown): void
  remove(key: readonly KeyPart[]): Promise<void>
}

type ResultKind = 'idle' | 'busy' | 'done' | 'absent' | 'refused'

export function createEntryForm(page: PageContext): EntryForm {
  const keyBox = input('put-key')
  const valueBox = input('put-value')
  const result = part('result', HTMLElement)
  const buttons = [button('put-button'), button('get-button'), button('delete-button')]

  const show = (kind: ResultKind, what: string, value: string, detail: string): void => {
    setData(result, 'kind', kind)
    result.replaceChildren(el('span', { class: 'result-what' }, what))
    if (value !== '') result.append(el('code', { 'data-testid': 'result-value' }, value))
    if (detail !== '') result.append(el('span', { class: 'result-detail', 'data-testid': 'result-detail' }, detail))
  }
  const withKey = async (work: (key: readonly KeyPart[]) => Promise<void>): Promise<void> => {
    const key = parseKey(keyBox.value)
    if (key.ok) return work(key.value)
    show('refused', key.message, '', '')
    keyBox.focus()
  }
  /** Runs one operation with a visible beginning and end; the last one begun owns the result line. */
  let latest = 0
  const perform = async (verb: string, key: readonly KeyPart[], work: () => Promise<() => void>): Promise<void> => {
    const mine = ++latest
    const name = formatKey(key)
    const begunMs = performance.now()
    show('busy', `${verb} ${name} …`, '', '')
    try {
      const finish = await work()
      if (mine === latest) finish()
    } catch (error) {
      const detail = `${errorText(error)} (after ${formatMs(performance.now() - begunMs)})`
      if (mine === latest) show('refused', `${verb} ${name}`, errorCode(error), detail)
      page.log.add('error', `${verb} ${name}: ${detail}`)
    }
  }

  const put = (key: readonly KeyPart[]): Promise<void> =>
    perform('put', key, async () => {
      const value = parseValue(valueBox.value)
      const done = await needSession(page).run(db => db.put(key, value))
      page.log.add('write', `put ${formatKey(key)} in ${formatMs(done.ms)}`)
      return () =>
        show(
          'done',
          `put ${formatKey(key)}`,
          formatValue(value),
          `${kindOf(value)}, version ${done.value.version}, ${formatMs(done.ms)}`,
        )
    })
  const get = (key: readonly KeyPart[]): Promise<void> =>
    perform('get', key, async () => {
      const consistency = page.consistency()
      const { value: entry, ms } = await needSession(page).run(db => db.getEntry(key, { consistency }))
      page.log.add('read', `get ${formatKey(key)} (${consistency}) in ${formatMs(ms)}`)
      return () => {
        if (entry === undefined)
          show('absent', `get ${formatKey(key)}`, 'no such key', `${consistency}, ${formatMs(ms)}`)
        else
          show(
            'done',
            `get ${formatKey(key)}`,
            formatValue(entry.value),
            `version ${entry.version}, ${consistency}, ${formatMs(ms)}`,
          )
      }
    })
  const remove = (key: readonly KeyPart[]): Promise<void> =>
    perform('delete', key, async () => {
      const done = await needSession(page).run(db => db.delete(key))
      page.log.add('write', `delete ${formatKey(key)} in ${formatMs(done.ms)}`)
      return () => show('done', `delete ${formatKey(key)}`, '', `version ${done.value.version}, ${formatMs(done.ms)}`)
    })

  part('entry-form', HTMLFormElement).addEventListener('submit', event => {
    event.preventDefault()
    void withKey(put)
  })
  button('get-button').addEventListener('click', () => void withKey(get))
  button('delete-button').addEventListener('click', () => void withKey(remove))

  return {
    enable(on) {
      for (const each of buttons) each.disabled = !on
    },
    fill(key, value) {
      keyBox.value = editableKey(key)
      const text = editableValue(value)
      valueBox.value = text ?? ''
      if (text === undefined)
        show('refused', `${formatKey(key)} holds what cannot be edited as text; a put replaces it.`, '', '')
      valueBox.focus()
    },
    remove,
  }
}

function needSession(page: PageContext): NonNullable<ReturnType<PageContext['session']>> {
  const session = page.session()
  if (session === undefined) throw new Error('The database is still opening.')
  return session
}
