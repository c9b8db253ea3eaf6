// SPDX-License-Identifier: Apache-2.0
// The extension _drover: Channel and Invoke, the same as in drover_transport.py, over channel.c.
// Names and meaning of the methods are described there.
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "channel.h"

#define DONE "[Done] Executing function."

struct invoke_object {
    PyObject_HEAD struct frame *frame;
    PyObject *loads;       // parses a JSON text
    PyObject *state;       // whatever the runner keeps with it
    unsigned long thread;  // that runs it
    long long started, lines, dropped;
    char cancelled, ended;
};

struct channel_object {
    PyObject_HEAD struct channel *channel;  // never freed: its threads end with the process
    PyObject *loads, *invoke_type;
    long long lines_max;  // per execution; 0: no limit
    Py_ssize_t line_max;  // bytes
    char forked;
};

// Invoke

static void invoke_dealloc(PyObject *self)
{
    struct invoke_object *invoke = (struct invoke_object *)self;
    PyTypeObject *type = Py_TYPE(self);
    free(invoke->frame);
    Py_XDECREF(invoke->loads);
    Py_XDECREF(invoke->state);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyObject *text_of(struct span span)
{
    return PyUnicode_DecodeUTF8(span.at, (Py_ssize_t)span.size, NULL);
}

static PyObject *string_of(struct invoke_object *invoke, struct span span)
{
    if (!memchr(span.at, '\\', span.size))
        return text_of((struct span){span.at + 1, span.size - 2});
    PyObject *text = text_of(span);
    if (!text)
        return NULL;
    PyObject *string = PyObject_CallFunctionObjArgs(invoke->loads, text, NULL);
    Py_DECREF(text);
    return string;
}

enum { ID, FUNCTION, INPUT, EXECUTION, FENCE, STATE, THREAD, STARTED, CANCELLED, ENDED };

static PyObject *invoke_get(PyObject *self, void *which)
{
    struct invoke_object *invoke = (struct invoke_object *)self;
    switch ((intptr_t)which) {
    case ID: return string_of(invoke, invoke->frame->id);
    case FUNCTION: return string_of(invoke, invoke->frame->function);
    case INPUT: return text_of(invoke->frame->input);
    case EXECUTION: return text_of(invoke->frame->execution);
    case FENCE: return text_of(invoke->frame->fence);
    case THREAD: return PyLong_FromUnsignedLong(invoke->thread);
    case STARTED: return PyLong_FromLongLong(invoke->started);
    case CANCELLED: return PyBool_FromLong(invoke->cancelled);
    case ENDED: return PyBool_FromLong(invoke->ended);
    default: break;
    }
    PyObject *state = invoke->state ? invoke->state : Py_None;
    Py_INCREF(state);
    return state;
}

static int invoke_set(PyObject *self, PyObject *value, void *which)
{
    struct invoke_object *invoke = (struct invoke_object *)self;
    if (!value) {
        PyErr_SetString(PyExc_AttributeError, "cannot be deleted");
        return -1;
    }
    if ((intptr_t)which == CANCELLED) {
        int truth = PyObject_IsTrue(value);
        if (truth >= 0)
            invoke->cancelled = (char)truth;
        return truth < 0 ? -1 : 0;
    }
    PyObject *old = invoke->state;
    Py_INCREF(value);
    invoke->state = value;
    Py_XDECREF(old);
    return 0;
}

static PyGetSetDef invoke_members[] = {
    {"id", invoke_get, NULL, NULL, (void *)ID},
    {"function", invoke_get, NULL, NULL, (void *)FUNCTION},
    {"input", invoke_get, NULL, NULL, (void *)INPUT},
    {"execution", invoke_get, NULL, NULL, (void *)EXECUTION},
    {"fence", invoke_get, NULL, NULL, (void *)FENCE},
    {"state", invoke_get, invoke_set, NULL, (void *)STATE},
    {"thread", invoke_get, NULL, NULL, (void *)THREAD},
    {"started", invoke_get, NULL, NULL, (void *)STARTED},
    {"cancelled", invoke_get, invoke_set, NULL, (void *)CANCELLED},
    {"ended", invoke_get, NULL, NULL, (void *)ENDED},
    {0},
};

static PyObject *invoke_refuse(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)type;
    (void)args;
    (void)kwargs;
    PyErr_SetString(PyExc_TypeError, "an Invoke comes from Channel.next");
    return NULL;
}

static PyType_Slot invoke_slots[] = {
    {Py_tp_new, (void *)invoke_refuse},
    {Py_tp_dealloc, (void *)invoke_dealloc},
    {Py_tp_getset, invoke_members},
    {0, NULL},
};

static PyType_Spec invoke_spec = {
    .name = "_drover.Invoke",
    .basicsize = sizeof(struct invoke_object),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = invoke_slots,
};

// Takes ownership of the frame, also when it fails.
static PyObject *invoke_new(struct channel_object *self, struct frame *frame)
{
    PyTypeObject *type = (PyTypeObject *)self->invoke_type;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct invoke_object *invoke = (struct invoke_object *)allocate(type, 0);
    if (!invoke) {
        free(frame);
        return NULL;
    }
    invoke->frame = frame;
    Py_INCREF(self->loads);
    invoke->loads = self->loads;
    invoke->thread = PyThread_get_thread_ident();
    invoke->started = channel_now();
    return (PyObject *)invoke;
}

// Channel

// False with an exception set.
static bool open_on(struct channel_object *self, int fd, long long credit)
{
    struct channel *channel = malloc(sizeof *channel);
    if (channel && channel_start(channel, fd, credit)) {
        self->channel = channel;
        return true;
    }
    free(channel);
    PyErr_SetFromErrno(PyExc_OSError);
    return false;
}

static int channel_init(PyObject *object, PyObject *args, PyObject *kwargs)
{
    struct channel_object *self = (struct channel_object *)object;
    int fd;
    long long credit;
    PyObject *loads;
    if (kwargs && PyDict_Size(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "Channel(fd, credit, loads) takes no names");
        return -1;
    }
    if (!PyArg_ParseTuple(args, "iLO", &fd, &credit, &loads))
        return -1;
    if (self->channel) {
        PyErr_SetString(PyExc_RuntimeError, "the channel is open already");
        return -1;
    }
    PyObject *module = PyImport_ImportModule("_drover");
    self->invoke_type = module ? PyObject_GetAttrString(module, "Invoke") : NULL;
    Py_XDECREF(module);
    if (!self->invoke_type)
        return -1;
    Py_INCREF(loads);
    self->loads = loads;
    self->line_max = 65536;
    return open_on(self, fd, credit) ? 0 : -1;
}

// After `forked`: the old channel stays as it was at the fork, with threads that are not here.
static PyObject *channel_reopen(PyObject *object, PyObject *args)
{
    struct channel_object *self = (struct channel_object *)object;
    int fd;
    long long credit;
    if (!PyArg_ParseTuple(args, "iL", &fd, &credit) || !open_on(self, fd, credit))
        return NULL;
    self->forked = 0;
    Py_RETURN_NONE;
}

static struct channel_object *open_channel(PyObject *object)
{
    struct channel_object *self = (struct channel_object *)object;
    if (self->channel && !self->forked)
        return self;
    PyErr_SetString(PyExc_RuntimeError, "the channel to the agent is not open in this process");
    return NULL;
}

static PyObject *channel_limit(PyObject *object, PyObject *args)
{
    struct channel_object *self = (struct channel_object *)object;
    if (!PyArg_ParseTuple(args, "Ln", &self->lines_max, &self->line_max))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *channel_read_loop(PyObject *object, PyObject *ignored)
{
    (void)ignored;
    struct channel_object *self = open_channel(object);
    if (!self)
        return NULL;
    PyEval_SaveThread();  // never taken back: the loop ends with the process
    channel_read(self->channel);
}

static PyObject *channel_write_loop(PyObject *object, PyObject *ignored)
{
    (void)ignored;
    struct channel_object *self = open_channel(object);
    if (!self)
        return NULL;
    PyEval_SaveThread();
    channel_write(self->channel);
}

static PyObject *channel_next(PyObject *object, PyObject *ignored)
{
    (void)ignored;
    struct channel_object *self = open_channel(object);
    if (!self)
        return NULL;
    struct frame *frame = channel_take(self->channel, false);
    bool more = true;
    while (!frame && more) {
        Py_BEGIN_ALLOW_THREADS more = channel_wait(self->channel);
        Py_END_ALLOW_THREADS frame = channel_take(self->channel, true);
    }
    if (!frame)
        Py_RETURN_NONE;
    return invoke_new(self, frame);
}

static PyObject *channel_withdraw_invoke(PyObject *object, PyObject *id)
{
    struct channel_object *self = open_channel(object);
    char *bytes;
    Py_ssize_t size;
    if (!self || PyBytes_AsStringAndSize(id, &bytes, &size) < 0)
        return NULL;
    struct frame *frame = channel_withdraw(self->channel, (struct span){bytes, (size_t)size});
    if (!frame)
        Py_RETURN_NONE;
    return invoke_new(self, frame);
}

static PyObject *channel_control(PyObject *object, PyObject *ignored)
{
    (void)ignored;
    struct channel_object *self = open_channel(object);
    struct frame *frame = NULL;
    while (self && !frame) {
        Py_BEGIN_ALLOW_THREADS channel_wait_control(self->channel);
        Py_END_ALLOW_THREADS if (PyErr_CheckSignals() < 0) return NULL;
        frame = channel_take_control(self->channel);
    }
    if (!self)
        return NULL;
    PyObject *bytes = PyBytes_FromStringAndSize(frame->bytes, (Py_ssize_t)frame->size);
    free(frame);
    return bytes;
}

static PyObject *channel_stop_invokes(PyObject *object, PyObject *ignored)
{
    (void)ignored;
    struct channel_object *self = open_channel(object);
    if (!self)
        return NULL;
    channel_stop(self->channel);
    Py_RETURN_NONE;
}

// Puts and frees the frames; waits without the GIL where it has to.
static PyObject *put_frames(struct channel_object *self, struct buffer *frames, size_t cost)
{
    if (frames->failed) {
        buffer_free(frames);
        return PyErr_NoMemory();
    }
    if (!channel_try_put(self->channel, frames, cost)) {
        Py_BEGIN_ALLOW_THREADS channel_put(self->channel, frames, cost);
        Py_END_ALLOW_THREADS
    }
    buffer_free(frames);
    Py_RETURN_NONE;
}

// A log frame; gives its cost. invoke may be NULL.
static size_t add_log(struct buffer *frames, struct invoke_object *invoke, const char *level,
                      struct span message)
{
    size_t begin = buffer_begin(frames);
    buffer_text(frames, "{\"t\":\"log\",\"at\":");
    buffer_int(frames, channel_now());
    buffer_text(frames, ",\"level\":\"");
    buffer_text(frames, level);
    buffer_text(frames, "\",\"id\":");
    struct span null = {"null", 4};
    struct span id = invoke ? invoke->frame->id : null;
    struct span function = invoke ? invoke->frame->function : null;
    buffer_add(frames, id.at, id.size);
    buffer_text(frames, ",\"function\":");
    buffer_add(frames, function.at, function.size);
    buffer_text(frames, ",\"message\":");
    buffer_json(frames, message);
    buffer_text(frames, "}");
    return buffer_end(frames, begin);
}

// The message's UTF-8, cut to the longest line that is allowed.
static PyObject *message_bytes(PyObject *message, Py_ssize_t most)
{
    PyObject *bytes = PyUnicode_AsUTF8String(message);
    if (!bytes && PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) {
        PyErr_Clear();
        bytes = PyUnicode_AsEncodedString(message, "utf-8", "replace");
    }
    char *text;
    Py_ssize_t size;
    if (!bytes || PyBytes_AsStringAndSize(bytes, &text, &size) < 0 || size <= most)
        return bytes;
    Py_ssize_t keep = most;
    while (keep > 0 && ((unsigned char)text[keep] & 0xc0) == 0x80)
        keep--;
    PyObject *note = PyUnicode_FromFormat(" [cut: %zd of %zd bytes]", keep, size);
    PyObject *note_bytes = note ? PyUnicode_AsUTF8String(note) : NULL;
    PyObject *cut = note_bytes ? PyBytes_FromStringAndSize(text, keep) : NULL;
    if (cut)
        PyBytes_Concat(&cut, note_bytes);
    Py_XDECREF(note);
    Py_XDECREF(note_bytes);
    Py_DECREF(bytes);
    return cut;
}

static struct invoke_object *invoke_of(struct channel_object *self, PyObject *object)
{
    if ((PyObject *)Py_TYPE(object) == self->invoke_type)
        return (struct invoke_object *)object;
    return NULL;
}

static PyObject *channel_log(PyObject *object, PyObject *args)
{
    struct channel_object *self = (struct channel_object *)object;
    PyObject *who, *message;
    const char *level;
    if (!PyArg_ParseTuple(args, "OsU", &who, &level, &message))
        return NULL;
    if (!(self = open_channel(object)))
        return NULL;
    struct invoke_object *invoke = invoke_of(self, who);
    if (invoke && invoke->ended)
        invoke = NULL;
    if (invoke && self->lines_max > 0 && invoke->lines >= self->lines_max) {
        invoke->dropped++;
        Py_RETURN_NONE;
    }
    PyObject *bytes = message_bytes(message, self->line_max);
    char *text;
    Py_ssize_t size;
    if (!bytes || PyBytes_AsStringAndSize(bytes, &text, &size) < 0)
        return NULL;
    if (invoke)
        invoke->lines++;
    struct buffer frames = {0};
    size_t cost = add_log(&frames, invoke, level, (struct span){text, (size_t)size});
    Py_DECREF(bytes);
    return put_frames(self, &frames, cost);
}

static size_t add_last_lines(struct buffer *frames, struct invoke_object *invoke, long long most)
{
    size_t cost = 0;
    if (invoke->dropped > 0) {
        char text[128];
        int size = snprintf(text, sizeof text,
                            "%lld more lines were dropped: the limit is %lld lines per execution",
                            invoke->dropped, most);
        cost = add_log(frames, invoke, "WARNING", (struct span){text, (size_t)size});
    }
    return cost + add_log(frames, invoke, "INFO", (struct span){DONE, sizeof DONE - 1});
}

static void add_result(struct buffer *frames, struct invoke_object *invoke, const char *status,
                       struct span payload, struct span usage)
{
    size_t begin = buffer_begin(frames);
    buffer_text(frames, "{\"t\":\"result\",\"id\":");
    buffer_add(frames, invoke->frame->id.at, invoke->frame->id.size);
    buffer_text(frames, ",\"fence\":");
    buffer_add(frames, invoke->frame->fence.at, invoke->frame->fence.size);
    buffer_text(frames, ",\"status\":\"");
    buffer_text(frames, status);
    buffer_text(frames, strcmp(status, "success") == 0 ? "\",\"output\":" : "\",\"error\":");
    buffer_add(frames, payload.at, payload.size);
    buffer_text(frames, ",\"startedAt\":");
    buffer_int(frames, invoke->started);
    buffer_text(frames, ",\"endedAt\":");
    buffer_int(frames, channel_now());
    if (usage.size > 0) {
        buffer_text(frames, ",\"usage\":");
        buffer_add(frames, usage.at, usage.size);
    }
    buffer_text(frames, "}");
    buffer_end(frames, begin);
}

static PyObject *channel_result(PyObject *object, PyObject *args)
{
    struct channel_object *self = open_channel(object);
    PyObject *who;
    const char *status, *payload, *usage = NULL;
    Py_ssize_t size, used = 0;
    if (!self || !PyArg_ParseTuple(args, "Osy#|z#", &who, &status, &payload, &size, &usage, &used))
        return NULL;
    struct invoke_object *invoke = invoke_of(self, who);
    if (!invoke || invoke->ended) {
        PyErr_SetString(PyExc_RuntimeError, "not an invoke, or it has its result already");
        return NULL;
    }
    struct buffer frames = {0};
    size_t cost = add_last_lines(&frames, invoke, self->lines_max);
    invoke->ended = 1;
    add_result(&frames, invoke, status, (struct span){payload, (size_t)size},
               (struct span){usage, (size_t)used});
    return put_frames(self, &frames, cost);
}

static PyObject *channel_progress(PyObject *object, PyObject *args)
{
    struct channel_object *self = open_channel(object);
    PyObject *who;
    const char *members;
    Py_ssize_t size;
    if (!self || !PyArg_ParseTuple(args, "Oy#", &who, &members, &size))
        return NULL;
    struct invoke_object *invoke = invoke_of(self, who);
    if (!invoke || invoke->ended)
        Py_RETURN_NONE;
    struct buffer frames = {0};
    size_t begin = buffer_begin(&frames);
    buffer_text(&frames, "{\"t\":\"progress\",\"id\":");
    buffer_add(&frames, invoke->frame->id.at, invoke->frame->id.size);
    buffer_text(&frames, ",\"fence\":");
    buffer_add(&frames, invoke->frame->fence.at, invoke->frame->fence.size);
    buffer_text(&frames, ",");
    buffer_add(&frames, members, (size_t)size);
    buffer_text(&frames, "}");
    buffer_end(&frames, begin);
    return put_frames(self, &frames, 0);
}

static PyObject *channel_send(PyObject *object, PyObject *payload)
{
    struct channel_object *self = open_channel(object);
    char *bytes;
    Py_ssize_t size;
    if (!self || PyBytes_AsStringAndSize(payload, &bytes, &size) < 0)
        return NULL;
    struct buffer frames = {0};
    size_t begin = buffer_begin(&frames);
    buffer_add(&frames, bytes, (size_t)size);
    buffer_end(&frames, begin);
    return put_frames(self, &frames, 0);
}

static PyObject *channel_flush_out(PyObject *object, PyObject *args)
{
    struct channel_object *self = (struct channel_object *)object;
    long long milliseconds;
    if (!PyArg_ParseTuple(args, "L", &milliseconds))
        return NULL;
    if (!self->channel || self->forked)
        Py_RETURN_TRUE;
    bool done;
    Py_BEGIN_ALLOW_THREADS done = channel_flush(self->channel, milliseconds);
    Py_END_ALLOW_THREADS return PyBool_FromLong(done);
}

static PyObject *channel_forked(PyObject *object, PyObject *ignored)
{
    (void)ignored;
    struct channel_object *self = (struct channel_object *)object;
    self->forked = 1;
    if (self->channel)
        return PyLong_FromLong(self->channel->wake);
    Py_RETURN_NONE;
}

static PyObject *channel_adopt(PyObject *object, PyObject *ignored)
{
    (void)object;
    (void)ignored;
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    Py_RETURN_NONE;
}

static void channel_dealloc(PyObject *object)
{
    struct channel_object *self = (struct channel_object *)object;
    PyTypeObject *type = Py_TYPE(object);
    Py_XDECREF(self->loads);
    Py_XDECREF(self->invoke_type);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static PyMethodDef channel_methods[] = {
    {"limit", channel_limit, METH_VARARGS, "limit(lines_per_execution, line_bytes)"},
    {"read_loop", channel_read_loop, METH_NOARGS, "Reads frames; ends with the process."},
    {"write_loop", channel_write_loop, METH_NOARGS, "Writes frames; ends with the process."},
    {"next", channel_next, METH_NOARGS, "The next Invoke; None when stopped."},
    {"withdraw", channel_withdraw_invoke, METH_O, "Takes back an Invoke that still waits."},
    {"control", channel_control, METH_NOARGS, "The bytes of the next other frame."},
    {"stop", channel_stop_invokes, METH_NOARGS, "No more invokes come."},
    {"log", channel_log, METH_VARARGS, "log(invoke or None, level, message)"},
    {"result", channel_result, METH_VARARGS, "result(invoke, status, json, usage=None)"},
    {"progress", channel_progress, METH_VARARGS, "progress(invoke, json_members)"},
    {"send", channel_send, METH_O, "Sends a frame of these bytes."},
    {"flush", channel_flush_out, METH_VARARGS, "flush(milliseconds): True when all is written"},
    {"forked", channel_forked, METH_NOARGS, "This process is a fork: it does not speak."},
    {"reopen", channel_reopen, METH_VARARGS, "reopen(fd, credit): this fork speaks, there."},
    {"adopt", channel_adopt, METH_NOARGS, "Orphans of its descendants become its children."},
    {0},
};

static PyType_Slot channel_slots[] = {
    {Py_tp_init, (void *)channel_init},
    {Py_tp_new, (void *)PyType_GenericNew},
    {Py_tp_dealloc, (void *)channel_dealloc},
    {Py_tp_methods, channel_methods},
    {0, NULL},
};

static PyType_Spec channel_spec = {
    .name = "_drover.Channel",
    .basicsize = sizeof(struct channel_object),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = channel_slots,
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_drover",
    .m_doc = "The runner's channel to the agent.",
    .m_size = 0,
};

static bool add_type(PyObject *module, const char *name, PyType_Spec *spec)
{
    PyObject *type = PyType_FromSpec(spec);
    if (type && PyModule_AddObject(module, name, type) == 0)
        return true;
    Py_XDECREF(type);
    return false;
}

PyMODINIT_FUNC PyInit__drover(void);
PyMODINIT_FUNC PyInit__drover(void)
{
    PyObject *module = PyModule_Create(&module_definition);
    if (!module)
        return NULL;
    if (add_type(module, "Invoke", &invoke_spec) && add_type(module, "Channel", &channel_spec))
        return module;
    Py_DECREF(module);
    return NULL;
}
