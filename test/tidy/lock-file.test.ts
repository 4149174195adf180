/**
 * `npm ci` refuses a lock file that leaves out a package somebody else's machine would need (another system's binary). npm itself writes such
 * files where its registry does not have them: then they are added by hand, with `version`, `os`, `cpu` and `optional`.
 */
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { root } from './tree.ts'

interface Locked {
  readonly version?: string
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}
type Packages = Readonly<Record<string, Locked>>

/** Dependencies that no entry answers, as `parent > name`. */
function missing(packages: Packages): string[] {
  const found: string[] = []
  for (const [path, { dependencies = {}, optionalDependencies = {} }] of Object.entries(packages)) {
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
      // As Node looks for it: beside, then further and further up.
      let folder = path
      while (packages[`${folder}${folder === '' ? '' : '/'}node_modules/${name}`]?.version === undefined) {
        if (folder === '') {
          found.push(`${path || 'harmonydb'} > ${name}`)
          break
        }
        folder = folder.slice(0, Math.max(0, folder.lastIndexOf('node_modules/') - 1))
      }
    }
  }
  return found
}

it('the lock file has every package that any system needs', () => {
  const { packages } = JSON.parse(readFileSync(`${root}package-lock.json`, 'utf8')) as { packages: Packages }
  expect(Object.keys(packages).length).toBeGreaterThan(100)
  expect(missing(packages)).toEqual([])
})

it('a lock file without one is found', () => {
  const packages = {
    '': { dependencies: { a: '1' } },
    'node_modules/a': {
      version: '1',
      dependencies: { c: '1' },
      optionalDependencies: { 'b-linux': '1', 'b-darwin': '1' },
    },
    'node_modules/a/node_modules/c': { version: '1', dependencies: { 'b-linux': '1' } },
    'node_modules/b-linux': { version: '1' },
  }
  expect(missing(packages)).toEqual(['node_modules/a > b-darwin'])
})
