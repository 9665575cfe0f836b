// Builds build/flat.wasm: copies the plugin interface next to the world of this plugin, and calls
// componentize-js, which combines both with the JavaScript.

import { componentize } from '@bytecodealliance/componentize-js';
import { cp, mkdir, rm, writeFile } from 'node:fs/promises';

await rm('build', { recursive: true, force: true });
await mkdir('build/wit/deps', { recursive: true });
await cp('wit/world.wit', 'build/wit/world.wit');
await cp('../../wit', 'build/wit/deps/occystrap-output', { recursive: true });

const { component } = await componentize({
  sourcePath: 'plugin.js',
  witPath: 'build/wit',
  worldName: 'plugin',
  // Leaves out WASI, which the runtime would import for these features. This plugin uses none of them.
  disableFeatures: process.env.WITH_WASI ? [] : ['clocks', 'http', 'random', 'stdio', 'fetch-event'],
});
await writeFile('build/flat.wasm', component);
