/** Which files are the store, when there are several generations of them. */
import { describe, expect, it } from 'vitest'
import { namesOutside, pairOf, pairsIn, storeFileKind } from '../../../src/cluster/store-files.ts'

describe('the files of a store', () => {
  it('the newest pair first, and the first where there is none', () => {
    expect(pairsIn([])).toEqual([pairOf(1)])
    expect(pairsIn(['log', 'pages', 'incoming'])).toEqual([pairOf(1)])
    expect(pairsIn(['log-2', 'pages-2', 'pages', 'pages-10', 'log'])).toEqual([pairOf(10), pairOf(2), pairOf(1)])
    // A log alone is no store: it was not finished.
    expect(pairsIn(['pages', 'log', 'log-2'])).toEqual([pairOf(1)])
    expect(pairOf(1)).toEqual({ generation: 1, pages: 'pages', log: 'log' })
    expect(pairOf(2)).toEqual({ generation: 2, pages: 'pages-2', log: 'log-2' })
  })

  it('other names are none of ours', () => {
    for (const name of [
      'page',
      'pages-',
      'pages-0',
      'pages-01',
      'pages-x',
      'xlog',
      'log-',
      'log-2-2',
      'incoming',
      'probe',
    ]) {
      expect(storeFileKind(name), name).toBeUndefined()
    }
    expect(storeFileKind('pages-2')).toBe('pages')
    expect(storeFileKind('log')).toBe('log')
    expect(namesOutside(['pages', 'log', 'pages-3', 'log-3', 'incoming', 'log-2'], kept => kept === 3)).toEqual([
      'pages',
      'log',
      'log-2',
    ])
  })
})
