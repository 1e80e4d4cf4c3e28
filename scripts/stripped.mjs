// Strips the types of all TypeScript files once for a run of the tests. Node would do it again in each of the hundreds of
// processes that the tests start, which takes a quarter of their time. Each of them preloads this file.
import { globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { registerHooks, stripTypeScriptTypes } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = dirname(import.meta.dirname)
const FOLDER = join(ROOT, 'node_modules/.cache/stripped')
const SOURCES = ['src', 'test', 'scripts', 'bench']

/** Writes the stripped files. */
export function strip() {
  for (const file of globSync(`{${SOURCES}}/**/*.ts`, { cwd: ROOT })) {
    const target = join(FOLDER, file)
    mkdirSync(dirname(target), { recursive: true })
    writeFileSync(target, stripTypeScriptTypes(readFileSync(join(ROOT, file), 'utf8')))
  }
}

/** The stripped file; undefined for any other. */
function read(url) {
  if (!url.startsWith('file:') || !url.endsWith('.ts')) return undefined
  const file = fileURLToPath(url)
  if (!SOURCES.some((folder) => file.startsWith(join(ROOT, folder, '/')))) return undefined
  try {
    return readFileSync(join(FOLDER, file.slice(ROOT.length)), 'utf8')
  } catch {
    return undefined
  }
}

registerHooks({
  load(url, context, nextLoad) {
    // tap switches source maps on in each process. All that they could map are its own files, which it reads one by one
    // then: half of the time in which a test file starts. In ours every token stays where it was.
    if (process.sourceMapsEnabled) process.setSourceMapsEnabled(false)
    const source = read(url)
    return source === undefined ? nextLoad(url, context) : { format: 'module', source, shortCircuit: true }
  },
})
