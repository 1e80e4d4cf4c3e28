// The program itself, as it is bundled.
require('./share.cjs')
require('../../src/cli/main.ts')
