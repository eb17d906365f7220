#include "cpgquery.h"

#include <stdlib.h>

/* Declared in nodes/nodeFuncs.h, which drags in more of the server than is needed. */
extern bool raw_expression_tree_walker(Node *node, bool (*walker)(), void *context);

/* The library keeps PostgreSQL's globals per thread. */
extern __thread bool standard_conforming_strings;
extern __thread bool escape_string_warning;

void pgcache_push(PgNodeStack *stack, Node *node)
{
    if (node == NULL || stack->failed)
        return;
    if (stack->count == stack->capacity) {
        size_t capacity = stack->capacity == 0 ? 64 : stack->capacity * 2;
        Node **nodes = realloc(stack->nodes, capacity * sizeof(Node *));
        if (nodes == NULL) {
            stack->failed = true;
            return;
        }
        stack->nodes = nodes;
        stack->capacity = capacity;
    }
    stack->nodes[stack->count++] = node;
}

Node *pgcache_pop(PgNodeStack *stack)
{
    return stack->count == 0 ? NULL : stack->nodes[--stack->count];
}

void pgcache_free(PgNodeStack *stack)
{
    free(stack->nodes);
    stack->nodes = NULL;
    stack->count = stack->capacity = 0;
}

static bool push_visitor(Node *node, void *context)
{
    pgcache_push(context, node);
    return false;
}

bool pgcache_push_children(PgNodeStack *stack, Node *node)
{
    size_t first = stack->count;

    /* The library's walker raises an error, which nobody here could catch, on a kind of node that
     * it does not know: only kinds that it handles get through. */
    switch (nodeTag(node)) {
    case T_SetToDefault: case T_CurrentOfExpr: case T_SQLValueFunction: case T_Integer:
    case T_Float: case T_Boolean: case T_String: case T_BitString: case T_ParamRef:
    case T_A_Const: case T_A_Star: case T_ColumnRef:
        return true;
    case T_IndexElem:
        pgcache_push(stack, ((IndexElem *) node)->expr);
        return true;
    case T_ReturnStmt:
        pgcache_push(stack, ((ReturnStmt *) node)->returnval);
        return true;
    case T_Alias: case T_RangeVar: case T_GroupingFunc: case T_SubLink: case T_CaseExpr:
    case T_RowExpr: case T_CoalesceExpr: case T_MinMaxExpr: case T_XmlExpr: case T_NullTest:
    case T_BooleanTest: case T_JoinExpr: case T_IntoClause: case T_List: case T_InsertStmt:
    case T_DeleteStmt: case T_UpdateStmt: case T_MergeStmt: case T_SelectStmt: case T_A_Expr:
    case T_BoolExpr: case T_FuncCall: case T_NamedArgExpr: case T_A_Indices:
    case T_A_Indirection: case T_A_ArrayExpr: case T_ResTarget: case T_MultiAssignRef:
    case T_TypeCast: case T_CollateClause: case T_SortBy: case T_WindowDef:
    case T_RangeSubselect: case T_RangeFunction: case T_RangeTableSample: case T_RangeTableFunc:
    case T_RangeTableFuncCol: case T_TypeName: case T_ColumnDef: case T_GroupingSet:
    case T_LockingClause: case T_XmlSerialize: case T_WithClause: case T_InferClause:
    case T_OnConflictClause: case T_CommonTableExpr: case T_MergeWhenClause:
        break;
    default:
        return false;
    }
    raw_expression_tree_walker(node, push_visitor, stack);
    for (size_t low = first, high = stack->count; low + 1 < high; low++) {
        Node *swapped = stack->nodes[low];
        stack->nodes[low] = stack->nodes[--high];
        stack->nodes[high] = swapped;
    }
    return true;
}

PgQueryInternalParsetreeAndError pgcache_raw_parse(const char *text, bool standard_conforming)
{
    standard_conforming_strings = standard_conforming;
    escape_string_warning = false; /* a warning would go to our stderr */
    return pg_query_raw_parse(text);
}

void pgcache_release(char *bytes)
{
    free(bytes);
}
