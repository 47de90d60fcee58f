// What Prisma's own parser makes of a schema, as JSON: `node models.mjs FILE`.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const prisma = createRequire(import.meta.url)("@prisma/prisma-schema-wasm");
const schema = readFileSync(process.argv[2], "utf8");

prisma.validate(JSON.stringify({ prismaSchema: schema }));
process.stdout.write(prisma.get_dmmf(JSON.stringify({ prismaSchema: schema })));
