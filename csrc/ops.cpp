// The schemas of every compiled op, and the module that importing loads. Implementations register themselves by device.
#include <Python.h>

#include <torch/csrc/stable/library.h>

#include "cpu/dispatch.h"

STABLE_TORCH_LIBRARY(wavegen, m) {
    m.def(
        "wavenet_pack(Tensor input, Tensor dilated, Tensor dilated_bias, Tensor residual, Tensor residual_bias, "
        "Tensor skip, Tensor skip_bias, Tensor head1, Tensor head1_bias, Tensor head2, Tensor head2_bias, "
        "Tensor interpolation, int[] dilations, int output, int format) -> Tensor");
    m.def("wavenet_state(Tensor weights, int streams) -> Tensor");
    m.def(
        "wavenet_generate(Tensor weights, Tensor(a!) state, Tensor conditioning, Tensor uniforms, Tensor lengths, "
        "Tensor? forced, float temperature, int top_k, float top_p, bool with_parameters) -> (Tensor, Tensor)");
    m.def(
        "gated_layer(Tensor x, Tensor? conditioning, Tensor dilated_weight, Tensor? dilated_bias, "
        "Tensor? conditioning_weight, Tensor output_weight, Tensor? output_bias, int dilation, bool causal) "
        "-> (Tensor, Tensor)");
    m.def(
        "gated_layer_backward(Tensor d_residual, Tensor d_skip, Tensor x, Tensor? conditioning, "
        "Tensor dilated_weight, Tensor? dilated_bias, Tensor? conditioning_weight, Tensor output_weight, "
        "int dilation, bool causal) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
}

namespace {

PyObject* instruction_set(PyObject*, PyObject*) {
    try {
        return PyUnicode_FromString(wavegen::kernels().name);
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
        return nullptr;
    }
}

const wavegen::Kernels* table(const char* name) {
    if (name == nullptr) return nullptr;  // not UTF-8: Python has set the error
    const wavegen::Kernels* found = wavegen::kernels_named(name);
    if (found == nullptr) PyErr_Format(PyExc_ValueError, "this processor does not offer %s", name);
    return found;
}

PyObject* use(PyObject*, PyObject* name) {
    const char* text = PyUnicode_AsUTF8AndSize(name, nullptr);
    const wavegen::Kernels* found = text == nullptr ? nullptr : table(text);
    if (found == nullptr) return nullptr;
    wavegen::use(*found);
    Py_RETURN_NONE;
}

PyObject* offers(PyObject*, PyObject* name) {
    const char* text = PyUnicode_AsUTF8AndSize(name, nullptr);
    return text == nullptr ? nullptr : PyBool_FromLong(wavegen::kernels_named(text) != nullptr);
}

PyObject* multiply_add(PyObject*, PyObject* args) {
    PyObject* name;
    int format;
    long long rounds;
    if (!PyArg_ParseTuple(args, "UiL", &name, &format, &rounds)) return nullptr;
    const wavegen::Kernels* kernels = table(PyUnicode_AsUTF8AndSize(name, nullptr));
    if (kernels == nullptr) return nullptr;
    double done;
    Py_BEGIN_ALLOW_THREADS;
    done = kernels->multiply_add(format, rounds);
    Py_END_ALLOW_THREADS;
    return PyFloat_FromDouble(done);
}

PyObject* stream_bytes(PyObject*, PyObject* args) {
    PyObject* name;
    unsigned long long address;
    long long count, rounds;
    if (!PyArg_ParseTuple(args, "UKLL", &name, &address, &count, &rounds)) return nullptr;
    const wavegen::Kernels* kernels = table(PyUnicode_AsUTF8AndSize(name, nullptr));
    if (kernels == nullptr) return nullptr;
    double seen = 0;
    Py_BEGIN_ALLOW_THREADS;
    for (long long r = 0; r < rounds; ++r)
        seen += kernels->stream_bytes(reinterpret_cast<const uint8_t*>(uintptr_t(address)), count);
    Py_END_ALLOW_THREADS;
    return PyFloat_FromDouble(seen);
}

PyMethodDef methods[] = {
    {"instruction_set", instruction_set, METH_NOARGS, "The instruction set whose kernels are used."},
    {"use_instruction_set", use, METH_O, "Use the kernels of an instruction set, by name, from now on."},
    {"offers", offers, METH_O, "Whether this build and processor offer an instruction set, by name."},
    {"multiply_add", multiply_add, METH_VARARGS, "(set, format, rounds): multiply-adds in registers; how many."},
    {"stream_bytes", stream_bytes, METH_VARARGS, "(set, address, bytes, rounds): reads memory as weights are read."},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef module = {PyModuleDef_HEAD_INIT, "_C", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__C() { return PyModule_Create(&module); }
