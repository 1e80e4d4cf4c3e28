// The build's second half: tsc compiles TypeScript and leaves the page's files where they are.
import { cpSync } from 'node:fs'

cpSync(new URL('../src/page', import.meta.url), new URL('../dist/page', import.meta.url), { recursive: true })
