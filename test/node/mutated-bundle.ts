/** The code of threads as one file, for `new Worker`; with pieces of it replaced, for tests that prove that others would find it out. */
import { readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { build, type Plugin } from 'esbuild'
import { expect } from 'vitest'

export interface Mutation {
  readonly file: string
  /** Each `from` stands there once. */
  readonly edits: readonly (readonly [from: string, to: string])[]
}

const scripts: string[] = []
export const removeBundles = (): Promise<unknown> => Promise.all(scripts.map(script => rm(script, { force: true })))

/** @param entry A file in this folder. */
export async function bundle(entry: string, mutation?: Mutation): Promise<string> {
  const script = join(import.meta.dirname, `../../node_modules/.cache/threads-${process.pid}-${scripts.length}.mjs`)
  scripts.push(script)
  const mutate: Plugin = {
    name: 'mutate',
    setup({ onLoad }) {
      if (mutation === undefined) return
      onLoad({ filter: new RegExp(`${mutation.file}$`) }, ({ path }) => {
        let contents = readFileSync(path, 'utf8')
        for (const [from, to] of mutation.edits) {
          expect(contents.split(from), from).toHaveLength(2)
          contents = contents.replace(from, to)
        }
        return { contents, loader: 'ts' }
      })
    },
  }
  await build({
    entryPoints: [join(import.meta.dirname, entry)],
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    plugins: [mutate],
    outfile: script,
  })
  return script
}
