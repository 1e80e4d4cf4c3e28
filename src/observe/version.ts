// The version of this package, and its name.
import { ownFile } from './own-files.ts'

export const VERSION: string = (JSON.parse(ownFile('package.json')) as { version: string }).version
