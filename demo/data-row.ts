/** A row of the table. Rows are made anew on every reading; the keyboard's focus is carried over. */
import type { Entry, KeyPart } from '../src/database/types.ts'
import { el } from './dom.ts'
import { formatKey, formatValue } from './format.ts'

export interface RowActions {
  edit(entry: Entry): void
  remove(key: readonly KeyPart[]): void
}

export function makeRow(entry: Entry, changed: boolean, actions: RowActions): HTMLTableRowElement {
  const key = formatKey(entry.key)
  const value = formatValue(entry.value, 220)
  const edit = el('button', { type: 'button', class: 'small', 'data-do': 'edit', 'aria-label': `Edit ${key}` }, 'Edit')
  edit.addEventListener('click', () => actions.edit(entry))
  const remove = el(
    'button',
    { type: 'button', class: 'small', 'data-do': 'delete', 'aria-label': `Delete ${key}` },
    'Delete',
  )
  remove.addEventListener('click', () => actions.remove(entry.key))
  return el(
    'tr',
    {
      'data-testid': 'data-row',
      'data-key': key,
      'data-version': entry.version,
      class: changed ? 'changed' : undefined,
    },
    el('td', { class: 'mono cell-key', title: key }, key),
    el('td', { class: 'mono cell-value', title: value }, value),
    el('td', { class: 'mono cell-version', title: entry.version }, shortVersion(entry.version)),
    el('td', { class: 'cell-actions' }, edit, remove),
  )
}

/** Versions compare as strings, so they are padded; what tells two of them apart is at the end. */
function shortVersion(version: string): string {
  const trimmed = version.replace(/^0+(?=.)/, '')
  return trimmed.length > 12 ? `…${trimmed.slice(-11)}` : trimmed
}

export interface FocusPlace {
  readonly key: string
  readonly button: string
}

export function rowWithFocus(body: HTMLElement): FocusPlace | undefined {
  const active = document.activeElement
  if (!(active instanceof HTMLButtonElement) || !body.contains(active)) return undefined
  return { key: active.closest('tr')?.dataset.key ?? '', button: active.dataset.do ?? '' }
}

export function restoreFocus(body: HTMLElement, place: FocusPlace | undefined): void {
  if (place === undefined) return
  for (const row of body.querySelectorAll('tr')) {
    if (row.dataset.key !== place.key) continue
    row.querySelector<HTMLButtonElement>(`button[data-do="${place.button}"]`)?.focus()
  }
}
