/* try and catch (...) in C. The engine's unwinder asks the personality routine of each frame what to do with an exception:
 * that of catches() says in the first phase that it handles it. In the second phase, after all frames below it have
 * cleaned up, it leaves the unwinder by longjmp. Values: Itanium C++ ABI, "Exception Handling".
 */
#include <setjmp.h>

enum {
    BEGIN_CATCH = 0x20f39100, /* __cxa_begin_catch(exception) */
    END_CATCH = 0x20f39380,   /* __cxa_end_catch() */
    SEARCH_PHASE = 1,         /* _UA_SEARCH_PHASE, _UA_CLEANUP_PHASE, _UA_HANDLER_FRAME: bits of `actions` */
    CLEANUP_PHASE = 2,
    HANDLER_FRAME = 4,
    HANDLER_FOUND = 6,   /* _URC_HANDLER_FOUND, _URC_CONTINUE_UNWIND: results */
    CONTINUE_UNWIND = 8,
};

static __thread struct { jmp_buf place; void *exception; } *catcher;

/* Global, because ld merges the references to two local personality routines. */
int catch_personality(int, int, uint64_t, void *, void *);
int catch_personality(int version, int actions, uint64_t class, void *exception, void *context) {
    (void)version, (void)class, (void)context;
    if (actions & SEARCH_PHASE)
        return HANDLER_FOUND;
    if (!(actions & HANDLER_FRAME))
        return CONTINUE_UNWIND;
    catcher->exception = exception;
    longjmp(catcher->place, 1);
}

/* Call the function; return 0, or 1 when it threw. */
__attribute__((noinline, noclone)) static int catches(void (*function)(void *), void *argument) {
    typeof(*catcher) here, *volatile outer = catcher;
    __asm__ volatile(".cfi_personality 0x1b, catch_personality"); /* encoding 0x1b: relative, four bytes, signed */
    catcher = &here;
    if (_setjmp(here.place)) {
        catcher = outer;
        ((void *(*)(void *))(base + BEGIN_CATCH))(here.exception);
        ((void (*)(void))(base + END_CATCH))();
        return 1;
    }
    function(argument);
    catcher = outer;
    return 0;
}
