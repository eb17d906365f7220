#ifndef CPGQUERY_H
#define CPGQUERY_H

/* PostgreSQL's raw parse tree as libpg_query builds it. The node types come from the headers of
 * PostgreSQL 15 itself; StatementParser.selfTest() checks that their layout is the library's. */

/* PostgreSQL's headers use a format attribute that Clang does not know. */
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wignored-attributes"
#include "postgres.h"
#include "nodes/parsenodes.h"
#include "nodes/primnodes.h"
#include "pg_query.h"
#include "pg_query/pg_query_internal.h"
#pragma clang diagnostic pop

/* Nodes still to be visited. Grows with the statement, whose size its caller bounds. */
typedef struct {
    Node **nodes;
    size_t count;
    size_t capacity;
    bool failed; /* memory ran out: what follows was lost */
} PgNodeStack;

void pgcache_push(PgNodeStack *stack, Node *node);
Node *pgcache_pop(PgNodeStack *stack);
void pgcache_free(PgNodeStack *stack);

/* Pushes the direct children of `node` so that the first is popped first. False for a kind of node
 * whose children are not known here: the tree below it stays unseen. */
bool pgcache_push_children(PgNodeStack *stack, Node *node);

/* Parses under the given lexer setting, which is a global of the library (one per thread), inside
 * the memory context that the caller entered. */
PgQueryInternalParsetreeAndError pgcache_raw_parse(const char *text, bool standard_conforming);

/* Frees what the library allocated outside of its memory contexts. */
void pgcache_release(char *bytes);

#endif
